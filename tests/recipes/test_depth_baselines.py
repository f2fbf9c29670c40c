"""The depth baselines print the figures that a set made by hand implies, and refuse what is not a set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def save(folder: Path, split: str, name: str, image: np.ndarray, metres: np.ndarray) -> None:
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / "rgb" / f"{name}.png")
    Image.fromarray((metres * 1000).astype(np.uint16)).save(folder / "depth" / f"{name}.png")
    with open(folder / f"{split}.txt", "a", encoding="utf-8") as file:
        file.write(f"rgb/{name}.png depth/{name}.png\n")


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """Two rooms seen six times each: a bright left half at 2 m, a bright right half at 4 m; val shows the first."""
    folder, rng = tmp_path / "rooms", np.random.default_rng(0)
    for room, depth in ((0, 2.0), (1, 4.0)):
        for view in range(6):
            image = rng.integers(0, 30, (24, 32, 3), dtype=np.uint8)
            image[:, 16 * room : 16 * room + 16] += 200
            metres = np.full((24, 32), depth)
            metres[0] = 0.0  # never measured
            metres[1, view] = 0.0
            save(folder, "train", f"t{room}{view}", image, metres)
            if room == 0 and view < 2:
                save(folder, "val", f"v{view}", np.roll(image, 1, axis=0), np.full((24, 32), depth))
    return folder


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tasks" / "depth" / "baselines.py"), *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


def test_hand_worked_figures(rooms: Path, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    done = run(f"depth:{rooms}", "--json", "--record", str(path))
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)["metrics"]["rooms"]
    # mean map: 3 m everywhere against 2 m, but the first row (1 of 24) holds the median of all, 2 m or 4 m by the lower
    # middle: 2 m, no error there
    assert figures["mean_map"]["AbsRel"] == pytest.approx(0.5 * 23 / 24, abs=1e-6)
    # copying finds the five views of the same room: 2 m, no error, and the first row falls back to the mean map
    assert figures["copy_5"] == pytest.approx({"AbsRel": 0.0, "RMSE": 0.0, "delta1": 1.0}, abs=1e-6)
    record = read_record(path)
    assert record["metrics"]["rooms"] == figures and record["protocol"]["near by"] == "thumbnail 32x24"
    assert str(rooms) in record["command"] and record["split"] == "val"


def test_a_missing_set_is_a_user_error(tmp_path: Path) -> None:
    done = run(str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr
