"""OOD figures of single pixels: both run files on a few steps where the data are, a clear word where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from visgen.engine import train_from_config
from visgen.metrics import read_record
from visgen.zoo import save_pretrained

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tasks" / "ood" / "pixels.py"), *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


def test_a_missing_model_is_named_and_no_record_is_left(tmp_path: Path) -> None:
    models = ("--camvid", tmp_path / "streets", "--town", tmp_path / "town")
    done = run("--data-root", tmp_path, *models, "--record", tmp_path / "r.json", "--pictures", tmp_path)
    assert done.returncode == 2 and "streets" in done.stderr and "error:" in done.stderr
    assert not (tmp_path / "r.json").exists()


@pytest.mark.slow
def test_two_steps_of_both_models_give_a_record(tmp_path: Path) -> None:
    root = os.environ.get("VISGEN_DATA")
    if not root or not (Path(root) / "camvid").is_dir():
        pytest.skip("VISGEN_DATA names no folder with camvid")
    models = {}
    for name, config in (("camvid", "camvid_held_out"), ("town", "town_known")):
        words = ["train.steps=2", f"out={tmp_path / name}", "model.options.weights=null"]
        words += [f"data.val.{name}.limit=2", f"data.train.{name}.limit=8"]
        file = ROOT / "configs" / "ood" / f"{config}.yaml"
        train_from_config(file, words, data_root=Path(root), export=save_pretrained)
        models[name] = tmp_path / name / "last"
    words = ["--data-root", root, "--camvid", models["camvid"], "--town", models["town"], "--limit", 40]
    done = run(*words, "--record", tmp_path / "r.json", "--pictures", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = read_record(tmp_path / "r.json")["metrics"]
    assert set(rows["camvid 9"]["energy"]) == {"pedestrian", "bicyclist"}
    assert set(next(r for k, r in rows.items() if k.startswith("town"))["energy"]) == {
        "unseen kinds",
        "unseen textures",
    }
    assert all(p.stat().st_size > 1000 for p in tmp_path.glob("ood_pixels_*.png"))
