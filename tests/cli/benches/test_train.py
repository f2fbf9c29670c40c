"""`visgen bench train`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from visgen.metrics import read_record

BACKBONE = {"width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4}


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """Two parts of two tasks."""
    parts = {"street": {"source": "semantic:${data_root}/street", "batch_size": 2}}
    parts["garden"] = {"source": "depth:${data_root}/garden", "batch_size": 1}
    config = {
        "out": str(tmp_path / "run"),
        "model": {"backbone": "vit_moe", "options": dict(BACKBONE), "max_side": 64},
        "data": {"train": parts},
        "train": {"steps": 4, "workers": 0, "device": "cpu", "ema_decay": 0.9},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_both_sides_and_the_parts_of_a_step(
    visgen_json: Callable[..., Any], run_file: Path, datasets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "train.json"
    words = ("--data-root", datasets, "--steps", 3, "--threads", 1, "--profile", "--record", path)
    report = visgen_json("bench", "train", run_file, *words)
    rows = {(r["case"], r["pass"]): r for r in report["rows"]}
    parts = ["forward", "backward", "optimiser", "average", "step"]
    assert list(rows) == [(case, part) for case in ("experts", "dense twin") for part in parts]
    for case in ("experts", "dense twin"):
        assert all(rows[case, part]["median_ms"] > 0 for part in parts)
        whole = rows[case, "step"]
        assert sum(rows[case, p]["median_ms"] for p in parts[:4]) <= 3 * whole["median_ms"]
        assert whole["images_per_second"] > whole["images_per_second_with_data"] > 0
        assert rows["dense twin", "step"]["ratio"] == 1
    assert report["images"] == 9 and report["data_ms"] > 0  # each step draws both parts
    # the experts are on one side only
    assert not any("visgen::" in o["operator"] for o in report["profile"]["dense twin"])
    assert any("conv" in o["operator"] for o in report["profile"]["dense twin"])
    record = read_record(path)
    assert record["command"].startswith("visgen bench train ") and record["command"].endswith("--steps 3 --profile")
    assert not (tmp_path / "run").exists()


def test_a_run_without_experts_has_no_twin(visgen: Callable[..., Any], run_file: Path, datasets: Path) -> None:
    words = ("--data-root", datasets, "--set", "model.options.layout=dense")
    result = visgen("bench", "train", run_file, *words)
    assert result.exit_code == 2 and "a dense twin needs a vit_moe backbone with experts" in result.stderr
