"""The scene-graph baselines train both arms on a small set of the procedural world and record what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from visgen.data.town import TownConfig, write_dataset
from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]
BACKBONE = json.dumps({"name": "timm", "model": "test_resnet"})


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tasks" / "scene_graph" / "baselines.py"), *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


def test_both_arms_and_their_difference(tmp_path: Path) -> None:
    config, folder = TownConfig(size=(64, 96)), tmp_path / "town"
    write_dataset(config, 4, folder, seed=1, split="train")
    write_dataset(config, 3, tmp_path / "other", seed=2, split="val")
    graphs = json.loads((tmp_path / "other" / "scene_graph" / "val.json").read_text())
    for image in graphs["images"]:
        image["file"] = f"../../other/scene_graph/{image['file']}"
    (folder / "scene_graph" / "val.json").write_text(json.dumps(graphs))
    words = [f"scene-graph:{folder}/scene_graph", "--masks", f"{folder}/train.json", "--backbone", BACKBONE]
    words += ["--seeds", "2", "--epochs", "1", "--views", "1", "--record", str(tmp_path / "record.json")]
    done = run(*words)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)
    assert set(figures) == {"blind", "full", "gain in mR@20"}
    for arm in ("blind", "full"):
        assert figures[arm]["mR@20"]["n"] == 2 and all(0 <= v <= 1 for v in figures[arm]["mR@20"]["values"])
    gain = figures["gain in mR@20"]
    wanted = figures["full"]["mR@20"]["mean"] - figures["blind"]["mR@20"]["mean"]
    assert gain["difference"] == pytest.approx(wanted) and gain["low"] <= gain["high"]
    record = read_record(tmp_path / "record.json")
    assert record["metrics"] == figures and record["seeds"] == [0, 1]
    assert record["config"]["arms"]["blind"] == {"head": {"pixels": False}, "loss": {"node_weight": 0.0}}


def test_sight_needs_a_model_that_has_it() -> None:
    done = run("scene-graph:nowhere", "--backbone", BACKBONE, "--sight")
    assert done.returncode == 2 and "--sight" in done.stderr and "--backbone" in done.stderr


def test_a_missing_set_is_a_user_error(tmp_path: Path) -> None:
    done = run(f"scene-graph:{tmp_path}/nowhere", "--backbone", BACKBONE)
    assert done.returncode == 2
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr
