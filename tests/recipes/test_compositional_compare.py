"""The compositional experiment from maps to record, with every core arm, in one step each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from visgen.metrics.record import read_record

ROOT = Path(__file__).resolve().parents[2]
ARMS = ["baseline", "again", "swapped", "gan", "graphn", "shuffled", "geometry"]


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tasks" / "compositional" / script), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


def test_every_arm_trains_and_is_measured(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    data = ("--data", "town:compositions?tasks=scene_graph&size=96x128", "--count", 8, "--side", 128)
    done = run("train.py", *data, "--set", "train.steps=1", "--out", out, "--seeds", 0, "--arms", *ARMS)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("all steps at step 1") == len(ARMS)
    again = (*data[:2], "--count", 9, "--side", 128, "--out", out, "--seeds", 0, "--arms", "again")
    other = run("train.py", *again)
    assert other.returncode == 2 and "about.json tells of" in other.stderr and "count=9" in other.stderr
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    marks = ("record", "record differences")
    page.write_text("".join(f"<!-- table {m} -->\n<!-- end {m} -->\n" for m in marks), encoding="utf-8")
    words = ("--out", out, "--seeds", 0, "--arms", *ARMS, "--no-made", "--draws", 20)
    done = run("compare.py", *words, "--record", record, "--readme", page)
    assert done.returncode == 0, done.stderr[-2000:]
    shown = page.read_text(encoding="utf-8")
    assert "appearance/predcls ng/zsR@100" in shown and "| graphn less gan |" in shown
    figures = read_record(record)["metrics"]
    assert set(figures["arms"]) == {*ARMS, "counts"}
    assert "all/sgcls" in figures["arms"]["graphn"] and "all/sgcls" not in figures["arms"]["geometry"]
    assert set(figures["claim"]) == {"K=20", "K=50", "K=100"}
    assert figures["claim"]["K=100"]["allowed"] in (True, False)
    assert json.loads(done.stdout)["differences"].keys() >= {"graphn less gan", "gan less again"}
