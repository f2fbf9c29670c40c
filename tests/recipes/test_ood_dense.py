"""OOD figures of dense heads: a few pictures of each set where the data are, a clear word where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tasks" / "ood" / "dense.py"), *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


def test_a_missing_set_is_named_and_no_record_is_left(tmp_path: Path) -> None:
    done = run("--data-root", tmp_path, "--record", tmp_path / "r.json")
    assert done.returncode == 2 and "camvid" in done.stderr and "error:" in done.stderr
    assert not (tmp_path / "r.json").exists()


@pytest.mark.slow
def test_a_few_pictures_of_each_set_give_a_record(tmp_path: Path) -> None:
    root = os.environ.get("VISGEN_DATA")
    if not root or not (Path(root) / "indoor85").is_dir():
        pytest.skip("VISGEN_DATA names no folder with camvid, coco_mini, night, indoor85 and the ood sets")
    done = run("--data-root", root, "--record", tmp_path / "r.json", "--limit", 3)
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_record(tmp_path / "r.json")
    assert set(record["metrics"]) == {"segmentation.camvid", "detection.coco"}
    assert record["protocol"]["lists"]["segmentation.camvid/train"]["images"] == 3
    assert set(record["metrics"]["segmentation.camvid"]["half_1"]["knn"]) >= {"near", "far", "id_kept"}
