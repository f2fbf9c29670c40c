"""The figures of edge detectors on pictures whose boundaries are known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from visgen.gan.night import HEDNet, save_edges
from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def test_canny_and_sobel_find_the_side_of_a_square(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "bsds500"
    for name in ("images", "boundaries"):
        (folder / name).mkdir(parents=True)
    image, share = np.full((128, 192, 3), 40, dtype=np.uint8), np.zeros((128, 192), dtype=np.uint8)
    image[32:96, 48:144] = 220
    share[32:96, [48, 143]] = share[[32, 95], 48:144] = 255
    Image.fromarray(image).save(folder / "images" / "a.png")
    Image.fromarray(share).save(folder / "boundaries" / "a.png")
    (folder / "val.txt").write_text("a\n")
    torch.manual_seed(0)
    options = {"name": "test_efficientnet", "width": 4}
    save_edges(tmp_path / "net", HEDNet(**options), options, {})  # type: ignore[arg-type]
    record = tmp_path / "record.json"
    words = [str(tmp_path / "net"), "--data-root", str(tmp_path / "data"), "--record", str(record)]
    command = [sys.executable, str(ROOT / "tasks" / "night" / "edges.py"), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    # a tolerance of 0.0075 * 231 = 1.7 pixels: both draw the line on the border between two pixels
    assert found["canny"]["recall"] > 0.9 and found["canny"]["precision"] > 0.9
    assert found["sobel"]["ODS"] > 0.8
    assert read_record(record)["metrics"] == found
