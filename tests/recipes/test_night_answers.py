"""What answers.py refuses; that it runs is shown in test_night_places.py, whose generators it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_without_places_it_says_so(tmp_path: Path) -> None:
    words = ["--data-root", str(tmp_path), "--generators", str(tmp_path)]
    command = [sys.executable, str(ROOT / "tasks" / "night" / "answers.py"), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "places needs the folder" in done.stderr
