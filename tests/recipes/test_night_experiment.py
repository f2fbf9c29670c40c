"""The street experiment runs from nothing to a record, and does not train twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def test_two_steps_of_three_arms(tmp_path: Path) -> None:
    arms = ["A1", "A2", "A5"]
    words = ["--quick", "--arms", *arms, "--out", str(tmp_path / "runs"), "--record", str(tmp_path / "r.json")]
    command = [sys.executable, str(ROOT / "tasks" / "night" / "experiment.py"), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    printed = json.loads(done.stdout)
    assert set(printed) == {"mIoU"} and set(printed["mIoU"]["arms"]) == set(arms)
    assert printed["mIoU"]["claim"]["best_rival"] in ("A1", "A2")
    assert read_record(tmp_path / "r.json")["metrics"] == printed
