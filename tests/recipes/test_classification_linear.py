"""The recipe that fits the last layer of a classification head on whole pictures."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from visgen.task import build_model
from visgen.zoo import load_model, save_pretrained

SCRIPT = Path(__file__).resolve().parents[2] / "tasks" / "classification" / "linear.py"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("linear_recipe", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_layer_separates_what_a_line_separates_whatever_the_scale_of_the_channels(recipe: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    scales = torch.logspace(-1, 0, 12)
    vectors = (F.one_hot(labels, 12) * 4.0 + torch.randn(90, 12, generator=generator)) * scales + 3.0
    weight, bias = recipe.fit_layer(vectors, labels, 3, epochs=800, decay=1.0, smoothing=0.1, seed=0)
    logits = F.linear(F.layer_norm(vectors, (12,)), weight, bias)
    assert (logits.argmax(1) == labels).float().mean() > 0.9


def test_a_greater_decay_gives_a_smaller_layer(recipe: ModuleType) -> None:
    vectors, labels = torch.randn(64, 8, generator=torch.Generator().manual_seed(1)), torch.arange(64) % 2
    sizes = [
        float(recipe.fit_layer(vectors, labels, 2, epochs=100, decay=decay, smoothing=0.0, seed=0)[0].norm())
        for decay in (0.1, 10.0, 100.0)
    ]
    assert sizes[0] > sizes[1] > sizes[2] > 0


def test_only_the_layer_and_its_norm_change_and_the_pictures_are_told_apart(tmp_path: Path) -> None:
    for colour, name in ((200, "bright"), (40, "dark")):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for i in range(6):
            picture = np.full((40, 48 + 8 * (i % 2), 3), colour + i, dtype=np.uint8)  # two sizes
            Image.fromarray(picture).save(tmp_path / "data" / "train" / name / f"{i}.png")
    torch.manual_seed(0)
    heads = {"classification.x": {"task": "classification", "classes": ("bright", "dark")}, "depth": {"task": "depth"}}
    backbone = {"name": "timm", "model": "mobilenetv3_small_050"}
    base = save_pretrained(build_model({"backbone": backbone, "heads": heads}), tmp_path / "base")
    command = [sys.executable, str(SCRIPT), str(base), "--data", f"imagefolder:{tmp_path / 'data'}"]
    words = ["--head", "classification.x", "--out", str(tmp_path / "new"), "--epochs", "60", "--dtype", "float32"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["images"] == 12 and report["top1 of these"] == 1.0
    old, new = load_model(str(base)).state_dict(), load_model(str(tmp_path / "new")).state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed and all(name.startswith("heads.classification__x.") for name in changed)

    wrong = subprocess.run([*command, "--head", "depth", "--out", str(tmp_path / "no")], capture_output=True, text=True)
    assert wrong.returncode == 2 and "'depth' is a DepthHead" in wrong.stderr and not (tmp_path / "no").exists()
