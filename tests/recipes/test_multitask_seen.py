"""The recipe that trains heads on what a fixed backbone saw once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from visgen.data.town import TownConfig, write_dataset
from visgen.task import build_model
from visgen.zoo import load_model, save_pretrained

ROOT = Path(__file__).resolve().parents[2]
HEADS = {"detection": {"task": "detection", "options": {"width": 16, "depth": 1}}, "depth": {"task": "depth"}}
CROP = {"name": "random_resized_crop", "size": [64, 64], "scale": [0.5, 1.0]}


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tasks" / "multitask" / "seen.py"), *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """Four pictures, a model with a head of boxes and one of depth, and a run that trains the boxes."""
    write_dataset(TownConfig(size=(64, 96)), 4, tmp_path / "town", seed=1, split="train")
    classes = [c["name"] for c in json.loads((tmp_path / "town" / "train.json").read_text())["categories"]]
    backbone = {"name": "timm", "model": "mobilenetv3_small_050"}
    heads = {name: dict(spec) for name, spec in HEADS.items()}
    heads["detection"]["classes"] = classes
    torch.manual_seed(0)
    save_pretrained(build_model({"backbone": backbone, "heads": heads}), tmp_path / "start", dtype="float32")
    model = {"backbone": "timm", "options": {"model": "mobilenetv3_small_050"}, "heads": HEADS}
    part = {"source": f"coco:{tmp_path}/town", "head": "detection", "transforms": [CROP]}
    part["options"] = {"targets": ["detection"]}
    config = {
        "out": str(tmp_path / "run"),
        "model": {**model, "weights": str(tmp_path / "start")},
        "data": {"train": {"town": part}},
        "optim": {"only": ["heads.detection"], "lr": 0.01},
        "train": {"steps": 4, "ema_decay": 0.5},
    }
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_the_named_head_is_trained_and_nothing_else(run_file: Path, tmp_path: Path) -> None:
    done = run(run_file, "--views", "town=2", "--batch-size", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {"heads": {"detection": 8}, "steps": 4, "out": str(tmp_path / "run" / "last")}
    old, new = (load_model(str(tmp_path / name)).state_dict() for name in ("start", "run/last"))
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert moved and all(name.startswith("heads.detection.") for name in moved)
    assert "heads.detection.regress.weight" in moved


def test_an_unknown_part_is_a_user_error(run_file: Path) -> None:
    done = run(run_file, "--views", "city=2")
    assert done.returncode == 2 and "city" in done.stderr and "town" in done.stderr
    assert "Traceback" not in done.stderr
