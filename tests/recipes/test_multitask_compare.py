"""The comparison of joint training with twins reports what its runs measured."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from visgen.config import load_run
from visgen.metrics import read_record, routing_summary

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tasks" / "multitask" / "compare.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=240, cwd=ROOT)


def finished(out: Path, arm: str, seed: int, metrics: dict[str, float]) -> None:
    shared = 0.5 - 0.4 * seed  # what the tasks have in common; the rest of each task's choices is its own
    summary = routing_summary(torch.tensor([[shared, 1 - shared, 0.0], [shared, 0.0, 1 - shared]]), ("a", "b"), 1)
    layer = {"layer": "blocks.2.attn", **summary.to_dict()}
    folder = out / f"{arm}-{seed}"
    folder.mkdir(parents=True)
    routing = [layer] if arm.startswith("joint") else []
    (folder / "result.json").write_text(json.dumps({"metrics": metrics, "routing": routing}))


def test_the_report_holds_mean_and_spread_of_every_arm(tmp_path: Path) -> None:
    for seed, top1 in enumerate((0.8, 0.9)):
        finished(tmp_path / "runs", "joint", seed, {"caltech100/top1": top1, "caltech100/top5": 1.0})
        finished(tmp_path / "runs", "twin-classification", seed, {"caltech100/top1": top1 - 0.1})
    record = tmp_path / "record.json"
    arguments = ["--data-root", "x", "--seeds", "0", "1", "--arms", "joint", "twin-classification"]
    done = run(*arguments, "--out", str(tmp_path / "runs"), "--report", str(record))
    assert done.returncode == 0, done.stderr
    found = read_record(record)["metrics"]
    assert found["figures"]["joint"]["caltech100/top1"]["mean"] == pytest.approx(0.85)
    assert found["figures"]["twin-classification"]["caltech100/top1"]["std"] == pytest.approx(0.1 / 2**0.5)
    # the own experts tell the task for certain, the common one tells nothing: I = (1 - shared) log T
    assert found["routing"]["joint"]["blocks.2.attn"]["normalised"]["values"] == pytest.approx([0.5, 0.9])
    assert "top5" not in done.stdout and "0.8500 +- 0.0707" in done.stdout


def test_a_missing_run_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    finished(tmp_path / "runs", "joint", 0, {"caltech100/top1": 0.5})
    record = tmp_path / "record.json"
    done = run("--data-root", "x", "--arms", "joint", "--out", str(tmp_path / "runs"), "--report", str(record))
    assert done.returncode != 0 and "joint-1" in done.stderr and not record.exists()


def test_runs_of_other_options_are_not_taken(tmp_path: Path) -> None:
    finished(tmp_path / "runs", "joint", 0, {"caltech100/top1": 0.5})
    file = tmp_path / "runs" / "joint-0" / "result.json"
    file.write_text(json.dumps({"steps": 40, "set": [], **json.loads(file.read_text())}))
    words = ["--data-root", "x", "--arms", "joint", "--seeds", "0", "--out", str(tmp_path / "runs")]
    for more in (["--steps", "50"], ["--steps", "40", "--set", "a=b", "--report", str(tmp_path / "r.json")]):
        done = run(*words, *more)
        assert done.returncode == 1 and "was made with 40 steps and --set []" in done.stderr
        assert not (tmp_path / "r.json").exists()
    assert run(*words, "--steps", "40").returncode == 0


@pytest.mark.parametrize("task", ["classification", "segmentation", "depth", "detection", "scene_graph"])
def test_a_twin_is_the_joint_run_without_the_other_tasks(task: str) -> None:
    joint = load_run(ROOT / "configs" / "multitask" / "visgen_tiny.yaml", data_root="x")
    twin = load_run(ROOT / "configs" / task / "twin.yaml", data_root="x")
    assert twin.data.train and all(joint.data.val[name] == part for name, part in twin.data.val.items())
    for name, part in twin.data.train.items():
        # a part of two tasks gives one of them up, by its targets or by the head that it feeds
        targets = part.options.get("targets")
        assert targets is None or set(targets) <= set(joint.data.train[name].options["targets"])
        whole = {**part.options, **({"targets": joint.data.train[name].options["targets"]} if targets else {})}
        assert replace(part, options=whole, head="") == joint.data.train[name]
    assert {h.split(".")[0] for h in twin.model.heads} == {task} | ({"detection"} if task == "scene_graph" else set())
    for name, head in twin.model.heads.items():
        bare = replace(head, classes=()) if name == "detection.coco" else head  # nothing else supplies them to graphs
        assert bare == joint.model.heads[name]
    assert {**twin.model.options, "layout": None} == {**joint.model.options, "layout": None}
    for name in ("loss_weights", "class_weights", "loss_options"):
        whole = {k: v for k, v in getattr(joint.objective, name).items() if k.split(".")[0] == task}
        assert getattr(twin.objective, name) == whole
    scales = {k: v for k, v in joint.optim.lr_scales.items() if "heads." not in k or task in k}
    assert twin.optim == replace(joint.optim, lr_scales=scales)
    share = sum(p.weight for p in twin.data.train.values()) / sum(p.weight for p in joint.data.train.values())
    assert twin.train == replace(joint.train, steps=round(joint.train.steps * share))


def test_a_twin_keeps_what_each_task_is_measured_on() -> None:
    joint = load_run(ROOT / "configs" / "multitask" / "visgen_tiny.yaml", data_root="x")
    twins = [load_run(path, data_root="x") for path in sorted((ROOT / "configs").glob("*/twin.yaml"))]
    assert len(twins) == 5 and {name for twin in twins for name in twin.data.val} == set(joint.data.val)
    assert {name for twin in twins for name in twin.data.train} == set(joint.data.train)


def test_every_figure_names_a_part_that_is_measured() -> None:
    joint = load_run(ROOT / "configs" / "multitask" / "visgen_tiny.yaml", data_root="x")
    module = runpy.run_path(str(SCRIPT))
    assert {figure.split("/")[0] for figure in module["FIGURES"]} <= set(joint.data.val)
    assert all(path.is_file() for path, _ in module["ARMS"].values())
    assert joint.data.val["coco_boxes"].metric == {"per_class": True}  # AP50/person
    assert "protocol" not in joint.data.val["graphs"].metric  # so that the protocol stands before a figure's name
