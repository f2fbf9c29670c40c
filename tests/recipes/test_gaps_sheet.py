"""The sheet of a training set with and without what was asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def test_the_sheet_shows_every_part_and_counts_what_is_shown(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tasks" / "gaps" / "sheet.py"), "--quick", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["without"]["dark pictures"] == 0
    assert found["with"]["dark pictures"] == pytest.approx(0.4)  # all of the part that takes 40 % of the steps
    assert found["with"]["road"] == pytest.approx(1.0)
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width == 3 * 100 + 4
