"""The cost of a step: the script measures every arm on a small set and fills the page's table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def test_it_writes_a_record_and_the_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    np.savez(
        tmp_path / "data" / "cifar10" / "train.npz",
        images=rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        labels=np.arange(40) % 2,
        classes=np.array(["a", "b"]),
    )
    page = tmp_path / "README.md"
    page.write_text((ROOT / "tasks" / "experts" / "README.md").read_text())
    record = tmp_path / "cost.json"
    words = ["--data-root", str(tmp_path / "data"), "--sets", "cifar10", "--arms", "head", "lora", "--steps", "2"]
    words += ["--record", str(record), "--readme", str(page)]
    command = [sys.executable, str(ROOT / "tasks" / "experts" / "cost.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = read_record(record)["metrics"]["cifar10"]
    assert (
        found["head"]["trained"] < found["lora"]["trained"]
        and found["head"]["memory_MiB"] < found["lora"]["memory_MiB"]
    )
    assert "cached step" in found["head"] and "cached step" not in found["lora"]
    table = page.read_text().partition("<!-- table cost -->")[2]
    row = next(line for line in table.splitlines() if line.startswith("| `lora` | ["))
    assert row.count("|") == 5 and " ms | - | [" in row and row.endswith(" MiB |")
