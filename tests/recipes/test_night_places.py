"""Place recognition and the agreement of answers, from a small set of places to their records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def write_places(base: Path) -> None:
    places: dict[str, dict[str, list[str]]] = {}
    for number, name in enumerate(("dome", "canal", "bridge", "arch")):  # not in the order of their names
        scene = np.random.default_rng(number).integers(0, 256, (6, 8, 3))
        for time, share in (("day", 1.0), ("night", 0.2)):
            (base / time).mkdir(parents=True, exist_ok=True)
            for i in range(2):
                pixels = (scene * share + 3 * i).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).resize((192, 144)).save(base / time / f"{name}_{i}.png")
                places.setdefault(name, {}).setdefault(time, []).append(f"{time}/{name}_{i}.png")
    (base / "pairs.json").write_text(json.dumps({"places": places}), encoding="utf-8")


def run(script: str, words: list[str]) -> str:
    command = [sys.executable, str(ROOT / "tasks" / "night" / script), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_both_experiments_on_places(tmp_path: Path) -> None:
    write_places(tmp_path / "data" / "night")
    root, out = str(tmp_path / "data"), str(tmp_path / "runs")
    words = ["--arms", "A1", "A2", "A5", "A8", "A9", "--seeds", "0", "--record", str(tmp_path / "p.json")]
    words += ["--set", "train.steps=2", "optim.warmup_steps=0", "model.options.weights=null"]
    words += ["data.train.places.batch_size=4"]
    words += ["--set-generator", "train.steps=2", "train.save_every=0", "data.train.places.batch_size=2"]
    words += ["objective.options.translator={name: relight, channels: 4, blocks: 0}"]
    printed = json.loads(run("places.py", ["--data-root", root, "--out", out, *words]))
    metrics = read_record(tmp_path / "p.json")["metrics"]
    assert metrics["mAP"] == printed and "claim" in printed and "untrained" in printed["arms"]
    assert set(metrics["mAP by night of each place"]["A5"]) == {"arch", "bridge", "canal", "dome"}
    assert list(metrics["mAP by night of each place"]["A5"]) == ["canal", "arch", "dome", "bridge"]  # as values come

    words = ["--data-root", root, "--generators", out, "--limit", "2", "--record", str(tmp_path / "a.json")]
    shown = json.loads(run("answers.py", words))
    assert set(shown) == {"day", "night", "night, brightened", "generated", "darkened"}
    found = read_record(tmp_path / "a.json")["metrics"]
    assert found["day"]["pixels"]["n"] == 4 and 0 < shown["day"]["pixels"] <= 1
