"""The vectors of the OOD study, from a few procedural scenes and invented photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]


def test_the_town_is_looked_at_with_its_mixes(tmp_path: Path) -> None:
    folder = tmp_path / "ood_textures" / "dotted"
    folder.mkdir(parents=True)
    for i in range(3):
        values = np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(values).save(folder / f"{i}.jpg")
    words = ["tasks/ood/features.py", "--data-root", str(tmp_path), "--out", str(tmp_path / "v"), "--quick"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words, "--sets", "town"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    pins = json.loads(done.stdout)["town"]
    kept = load_file(tmp_path / "v" / "town.safetensors")
    assert {part: kept[f"{part}.x"].shape[0] for part in pins} == {part: row["images"] for part, row in pins.items()}
    assert kept["mix0.x"].shape == kept["train.x"].shape == kept["mix1.x"].shape
    assert sorted(kept["mix0.partner"].tolist()) == list(range(len(kept["train.y"])))
    assert float(kept["mix0.lam"].min()) >= 0 and float(kept["mix0.lam"].max()) <= 1
