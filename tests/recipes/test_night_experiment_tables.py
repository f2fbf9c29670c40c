"""The tables of EXPERIMENTS.md are what the records say: written anew, nothing changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tasks" / "night" / "EXPERIMENTS.md"


def test_written_anew_the_page_stays_as_it_is(tmp_path: Path) -> None:
    results = ROOT / "model_zoo" / "results"
    names = ("places", "places_others", "street", "street_grain", "street_labels", "street_longer", "answers")
    if not all((results / f"night_{name}.json").is_file() for name in names):
        pytest.skip("a record of the night experiments is missing; its command is in EXPERIMENTS.md")
    page = tmp_path / "tasks" / "night" / "EXPERIMENTS.md"
    page.parent.mkdir(parents=True)
    shutil.copy(PAGE, page)
    (tmp_path / "model_zoo").symlink_to(ROOT / "model_zoo")
    words = ["--results", str(tmp_path / "model_zoo" / "results"), "--page", str(page)]
    command = [sys.executable, str(ROOT / "tasks" / "night" / "experiment_tables.py"), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
