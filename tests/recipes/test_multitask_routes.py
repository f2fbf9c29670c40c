"""The recipe that asks which heads may share a router."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.task import build_model
from visgen.zoo import save_pretrained

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
data:
  train: {{}}
  val:
    pets: {{source: "imagefolder:{folder}", options: {{name: x}}}}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes told by brightness, a run file that names them, and an untrained model of two routers."""
    for label, level in (("cat", 60), ("dog", 200)):
        (tmp_path / "val" / label).mkdir(parents=True)
        for i in range(3):
            picture = np.random.default_rng(i).integers(level - 20, level + 20, (48, 64, 3)).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "val" / label / f"{i}.png")
    (tmp_path / "run.yaml").write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    torch.manual_seed(0)
    backbone = {"name": "vit_moe", "width": 32, "heads": 2, "depth": 2, "prefix_depth": 0, "num_experts": 4, "top_k": 2}
    heads = {"classification.x": {"task": "classification", "classes": ["cat", "dog"]}, "depth": {"task": "depth"}}
    model = build_model({"backbone": {**backbone, "attention_experts": 4}, "heads": heads})
    save_pretrained(model, tmp_path / "model")
    save_pretrained(build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": heads}),
                    tmp_path / "plain")  # fmt: skip
    return tmp_path


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tasks" / "multitask" / "routes.py"), *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_a_head_is_measured_on_every_router_and_the_record_says_which_it_takes(data: Path) -> None:
    record = data / "record.json"
    done = run(data / "model", "--data-root", data, "--config", data / "run.yaml", "--record", record)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(record.read_text(encoding="utf-8"))["metrics"]["pets"]
    assert found["head"] == "classification.x" and found["takes"] == "classification"
    assert list(found["routers"]) == ["classification", "depth"]
    assert all(0 <= row["top1"] <= 1 for row in found["routers"].values())


def test_a_model_without_routers_and_an_unknown_part_are_refused(data: Path) -> None:
    words = ("--data-root", data, "--config", data / "run.yaml")
    done = run(data / "plain", *words)
    assert done.returncode == 2 and "has no routers" in done.stderr
    done = run(data / "model", *words, "--parts", "pests")
    assert done.returncode == 2 and "no part 'pests'" in done.stderr and "pets" in done.stderr
