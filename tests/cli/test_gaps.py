"""`visgen data gaps` and `visgen data close`: strata as a table and as JSON, run files, and what closing gains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from visgen.config import load_run
from visgen.data.town.config import SEMANTIC_CLASSES
from visgen.engine.gaps.mix import _model
from visgen.metrics import read_record
from visgen.task import build_model
from visgen.zoo import save_pretrained


def test_gaps_are_listed(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, datasets: Path
) -> None:
    words = ("data", "gaps", model_folder, "--data", f"semantic:{datasets / 'street'}", "--min-images", 1)
    words += ("--data", f"depth:{datasets / 'garden'}")
    report = visgen_json(*words)
    assert [row["head"] for row in report["data"]] == ["segmentation.street", "depth"]
    first = report["data"][0]
    assert {g["kind"] for g in first["gaps"]} >= {"class"}
    assert all(g["low"] <= g["difference"] + 1e-9 and g["difference"] - 1e-9 <= g["high"] for g in first["gaps"])
    shown = visgen(*words).stdout
    assert "class sky" in shown and "depth 0 to 2 m" in shown and "verdict" in shown
    only = visgen_json(*words, "--task", "depth")
    assert [row["head"] for row in only["data"]] == ["depth"]


def test_a_wrong_share_is_a_users_mistake(visgen: Callable[..., Any], model_folder: Path, datasets: Path) -> None:
    result = visgen("data", "gaps", model_folder, "--data", f"semantic:{datasets / 'street'}", "--share", 2)
    assert result.exit_code == 2 and "in is 2.0" in result.stderr
    result = visgen("data", "gaps", model_folder, "--data", f"semantic:{datasets / 'street'}", "--max-side", 0)
    assert result.exit_code == 2 and "max_side 0" in result.stderr


def test_options_of_nights_need_a_generator(visgen: Callable[..., Any], model_folder: Path, datasets: Path) -> None:
    data = ["--data", f"semantic:{datasets / 'street'}", "--night-option", "grain=[0.03,0.1]"]
    result = visgen("data", "gaps", model_folder, *data)
    assert result.exit_code == 2 and "name one with --night" in result.stderr
    result = visgen("data", "gaps", model_folder, *data, "--night", "visgen-nite-tiny")
    assert result.exit_code == 2 and "visgen-nite-tiny" in result.stderr


def test_what_is_asked_for_is_met_or_told(
    visgen: Callable[..., Any], model_folder: Path, datasets: Path, tmp_path: Path
) -> None:
    words = ("data", "gaps", model_folder, "--data", f"semantic:{datasets / 'street'}", "--min-images", 1)
    words += ("--task", "segmentation")
    result = visgen(*words, "--task", "dpeth")
    assert result.exit_code == 2 and "did you mean 'depth'" in result.stderr
    result = visgen(*words, "--task", "depth")
    assert result.exit_code == 2 and "no data set has labels for depth" in result.stderr
    result = visgen(*words, "--record", tmp_path / "r.txt")
    assert result.exit_code == 2 and "does not end in .json" in result.stderr
    result = visgen(*words, "--out", tmp_path / "g.yaml", "--record", tmp_path / "g.json")
    assert result.exit_code == 2 and "is the report of" in result.stderr
    result = visgen("data", "close", tmp_path / "g.yaml", "--out", tmp_path / "r", "--record", tmp_path / "g.json")
    assert result.exit_code == 2 and "is the report of" in result.stderr
    result = visgen(*words, "--most", 0, "--out", tmp_path / "g.yaml")
    assert result.exit_code == 2 and "most is 0; ask for at least 1 gap" in result.stderr


def test_a_head_that_is_fitted_is_no_part_of_the_run_that_follows() -> None:
    heads = {"depth": {"task": "depth"}, "ood": {"task": "ood"}}
    model = {"backbone": {"name": "vit_moe"}, "heads": heads, "max_side": 48, "min_side": 0}
    settled = _model({**model, "default_heads": {"depth": "depth", "ood": "ood"}}, "w.safetensors")
    assert set(settled["heads"]) == {"depth"} and settled["default_heads"] == {"depth": "depth"}


@pytest.fixture(scope="module")
def town_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with two of the town's heads."""
    torch.manual_seed(0)
    heads = {
        "segmentation.town": {"task": "segmentation", "classes": SEMANTIC_CLASSES},
        "depth": {"task": "depth"},
    }
    backbone = {"name": "vit_moe", "width": 16, "depth": 1, "heads": 2, "layout": "dense"}
    config = {"backbone": backbone, "heads": heads, "max_side": 48}
    return save_pretrained(build_model(config), tmp_path_factory.mktemp("town") / "model")


TOWN = "town:street?size=32x48&count=16&tasks=segmentation,depth&min_pixels=4"


def test_gaps_are_asked_for_trained_and_reported(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], town_model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "gaps.yaml"
    words = ("data", "gaps", town_model, "--data", TOWN, "--task", "segmentation", "--out", run, "--steps", 2)
    words += ("--train-batch", 2, "--least", 1e-4, "--min-images", 3, "--picture", tmp_path / "gaps.png")
    report = visgen_json(*words)
    weak = {f"{g['kind']}/{g['name']}" for g in report["data"][0]["gaps"] if g["verdict"] == "weak"}
    assert weak and report["run"] == str(run)
    for request in report["requests"]:
        assert set(request["gaps"]) <= weak
        assert (request["part"] is None) == (request["served_by"] == "")
    served = {r["served_by"] for r in report["requests"]}
    assert "town" in served or "real" in served
    # The run and its control are ordinary run files, equal but for what was asked for.
    full, control = load_run(run), load_run(tmp_path / "gaps.control.yaml")
    asked = [name for name in full.data.train if name.startswith("asked-")]
    assert asked and set(full.data.train) - set(asked) == set(control.data.train)
    assert (full.train, full.optim, full.seed) == (control.train, control.optim, control.seed)
    shares = {name: part.weight for name, part in full.data.train.items()}
    assert sum(shares[name] for name in asked) == pytest.approx(0.4, abs=1e-4)
    assert full.data.val["segmentation-town"].wrap[0] == {"name": "share", "low": 0.5, "high": 1.0}
    assert visgen("train", run, "--dry-run").exit_code == 0
    assert visgen("train", tmp_path / "gaps.control.yaml", "--dry-run").exit_code == 0
    with Image.open(tmp_path / "gaps.png") as drawn:
        assert drawn.width == 820
    # One command trains both arms and reports.
    out = tmp_path / "closed"
    close = ("data", "close", run, "--out", out, "--seeds", 2, "--device", "cpu")
    closed = visgen_json(*close, "--picture", tmp_path / "closed.png", "--record", tmp_path / "r.json")
    assert [p.name for p in sorted(out.iterdir())] == ["closed-0", "closed-1", "control-0", "control-1"]
    first = closed["rows"][0]
    assert (first["key"], first["metric"], closed["steps"]) == ("all/all", "mIoU", 2)
    assert all(len(row[arm]["values"]) == 2 for row in closed["rows"] for arm in ("control", "closed"))
    reported = {row["key"] for row in closed["rows"] if row["is_asked"]}
    assert reported and reported <= {key for r in report["requests"] if r["part"] for key in r["gaps"]}
    assert report["data"][0]["images"] + first["images"] == 16  # looked in one half, reported on the other
    metrics = read_record(tmp_path / "r.json")["metrics"][f"segmentation.town on {TOWN}"]
    assert metrics["all/all"]["closed"] == first["closed"]
    (out / "closed-1" / "finished.txt").unlink()  # as after a run that was cut short: it goes on
    resumed = visgen(*close)
    assert resumed.exit_code == 0 and resumed.stderr.count("training") == 1 and "closed, seed 1" in resumed.stderr
    shown = visgen(*close)  # nothing is trained twice
    assert "gain over control" in shown.stdout and "everything (" in shown.stdout and "training" not in shown.stderr
    changed = ("--set", f"data.train.{asked[0]}.batch_size=1", "--set", "train.steps=1")
    found = visgen_json("data", "close", run, "--out", tmp_path / "changed", "--device", "cpu", *changed, "--seeds", 1)
    assert found["protocol"]["batch_sizes"][asked[0]] == 1 and found["steps"] == 1
    other = visgen(*close, "--set", "train.steps=3")
    assert other.exit_code == 2 and "control-0' was trained by another" in other.stderr and "in steps" in other.stderr


def test_nothing_weak_asks_for_nothing(visgen: Callable[..., Any], town_model: Path, tmp_path: Path) -> None:
    run = tmp_path / "gaps.yaml"
    words = ("data", "gaps", town_model, "--data", TOWN, "--task", "depth", "--out", run, "--least", 1e6)
    result = visgen(*words)
    assert result.exit_code == 0 and "nothing is asked for" in result.stderr
    assert not run.exists() and (tmp_path / "gaps.json").exists()
    refused = visgen("data", "close", run, "--out", tmp_path / "x")
    assert refused.exit_code == 2 and "gaps.yaml' (closed) does not exist" in refused.stderr
