"""`visgen train`: a real run of a few steps, its model used by the other commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from visgen.zoo import from_pretrained

from .conftest import BACKBONE


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """Two parts, four steps."""
    part = {"source": "semantic:${data_root}/street", "batch_size": 2}
    config = {
        "out": str(tmp_path / "run"),
        "model": {"backbone": "vit_moe", "options": dict(BACKBONE), "max_side": 64},
        "data": {
            "train": {"street": part, "garden": {"source": "depth:${data_root}/garden", "batch_size": 2}},
            "val": {"street": {**part, "batch_size": 1}},
        },
        "train": {"steps": 4, "save_every": 2, "eval_every": 0, "workers": 0, "device": "cpu", "progress": "none"},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_run_leaves_a_model_that_the_other_commands_take(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], run_file: Path, datasets: Path, photographs: Path
) -> None:
    summary = visgen_json("train", run_file, "--data-root", datasets, "--set", "train.steps=2")
    assert (summary["steps"], summary["reason"], summary["finished"]) == (2, "all steps", True)
    folder = Path(summary["out"]) / "last"
    assert sorted(from_pretrained(folder).specs) == ["depth", "segmentation.street"]
    (row,) = visgen_json("predict", photographs / "a.png", "--model", folder)
    assert row["depth"]["units"] == "metres"
    report = visgen_json(
        "evaluate", "--task", "segmentation", "--data", f"semantic:{datasets / 'street'}", "--model", folder
    )
    assert report["metrics"]["mIoU"] == pytest.approx(summary["metrics"]["street/mIoU"], abs=0.02)
    again = visgen("train", run_file, "--data-root", datasets)
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    resumed = visgen("train", run_file, "--data-root", datasets, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "ended by: all steps, step 4" in resumed.stderr


def test_the_way_to_go_on_names_what_was_changed(
    visgen: Callable[..., Any], run_file: Path, datasets: Path, tmp_path: Path
) -> None:
    other = f"out={tmp_path / 'other run'}"
    done = visgen("train", run_file, "--data-root", datasets, "--set", other, "--time-limit", "1e-9")
    said = done.stderr.replace("\n", " ")
    assert f"--set '{other}' --data-root {datasets} --resume" in " ".join(said.split()), said


def test_a_dry_run_leaves_nothing(visgen: Callable[..., Any], run_file: Path, datasets: Path) -> None:
    result = visgen("train", run_file, "--data-root", datasets, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "ended by: dry run" in result.stderr
    assert sorted(p.name for p in run_file.parent.iterdir()) == ["run.yaml"]


def test_wrong_keys_are_refused_with_the_nearest(
    visgen: Callable[..., Any], run_file: Path, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISGEN_DATA", raising=False)
    result = visgen("train", run_file, "--data-root", datasets, "--set", "train.stepz=3")
    assert result.exit_code == 2
    assert "stepz" in result.stderr and "steps" in result.stderr
    missing = visgen("train", run_file)
    assert missing.exit_code == 2 and "data_root" in missing.stderr


def test_the_data_folder_may_come_from_the_environment(
    visgen: Callable[..., Any], run_file: Path, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISGEN_DATA", str(datasets))
    assert visgen("train", run_file, "--dry-run").exit_code == 0
