"""The comparison of what to fine-tune: runs that differ in what trains alone, and a report of what they found."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tasks" / "experts" / "compare.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=240, cwd=ROOT)


def finished(out: Path, name: str, arm: str, seed: int, value: float, trained: int) -> None:
    folder = out / f"{name}-{arm.replace(':', '')}-{seed}"
    folder.mkdir(parents=True)
    metric = {"batik64": "batik64/top1", "clothing": "clothing/mIoU"}[name]
    (folder / "finetune.json").write_text(json.dumps({"trained": trained, "metrics": {metric: value}}))


def test_the_report_holds_figures_differences_and_rows(tmp_path: Path) -> None:
    arms, sets = ("head", "top:4"), ("batik64", "clothing")
    for name in sets:
        for seed, value in enumerate((0.5, 0.6)):
            finished(tmp_path / "runs", name, "head", seed, value, 100)
            finished(tmp_path / "runs", name, "top:4", seed, value + 0.1 - 0.05 * seed, 400)
    page = tmp_path / "page" / "README.md"
    page.parent.mkdir()
    page.write_text((ROOT / "tasks" / "experts" / "README.md").read_text())
    words = ["--data-root", "x", "--seeds", "0", "1", "--sets", *sets, "--arms", *arms]
    places = ["--out", str(tmp_path / "runs"), "--report", str(tmp_path / "record.json"), "--readme", str(page)]
    done = run(*words, *places)
    assert done.returncode == 0, done.stderr
    found = read_record(tmp_path / "record.json")["metrics"]
    assert found["trained"] == {name: {"head": 100, "top:4": 400} for name in sets}
    assert found["figures"]["clothing"]["top:4"]["values"] == pytest.approx([0.6, 0.65])
    assert found["over head"]["batik64"]["top:4"]["mean"] == pytest.approx(0.075)
    text = page.read_text()
    assert "| `top:4` | [400](../record.json#metrics.trained.batik64.top:4) | [0.625](" in text
    assert "| trains | batik64: parameters | top1 | clothing: parameters | mIoU |" in text


def test_a_missing_run_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    finished(tmp_path / "runs", "batik64", "head", 0, 0.5, 100)
    record = tmp_path / "record.json"
    words = ["--data-root", "x", "--sets", "batik64", "--arms", "head", "--seeds", "0", "1"]
    done = run(*words, "--out", str(tmp_path / "runs"), "--report", str(record))
    assert done.returncode != 0 and "batik64-head-1" in done.stderr and not record.exists()


@pytest.mark.parametrize("name", ["batik64", "cifar10", "clothing"])
def test_the_arms_differ_in_what_trains_alone(name: str) -> None:
    script = runpy.run_path(str(SCRIPT))
    args = Namespace(out=Path("runs"), set=[], data_root="x", model="other")
    runs = {arm: script["arm_config"](name, arm, 1, args) for arm in script["ARMS"]}
    assert {run.finetune.experts for run in runs.values()} == set(script["ARMS"])
    assert len({run.out for run in runs.values()}) == len(runs)
    first = runs["head"]
    for arm, one in runs.items():
        alike = replace(one.finetune, experts="head", cache_mb=first.finetune.cache_mb)
        scales = one.optim.lr_scales if arm == "full" else first.optim.lr_scales
        optim = replace(first.optim, lr_scales=scales)
        assert replace(one, finetune=alike, out=first.out) == replace(first, optim=optim), arm
        assert (one.finetune.cache_mb == 0) == (arm in ("lora", "full"))
    assert {run.finetune.model for run in runs.values()} == {"other"}
    assert runs["lora"].finetune.match == "top:4"
    assert script["SETS"][name].split("/")[0] in first.data.val
