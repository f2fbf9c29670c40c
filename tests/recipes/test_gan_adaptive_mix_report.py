"""The report of the AdaptiveMix experiment refuses what is not there, by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_missing_runs_are_named_and_no_record_is_left(tmp_path: Path) -> None:
    words = ["--out", tmp_path / "runs", "--weights", tmp_path / "none.safetensors"]
    words += ["--classifier", tmp_path / "classifier", "--record", tmp_path / "record.json"]
    command = [sys.executable, str(ROOT / "tasks" / "gan" / "adaptive_mix_report.py"), *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2 and "none-0" in done.stderr and "error:" in done.stderr
    assert not (tmp_path / "record.json").exists()
