"""The AdaptiveMix experiment trains each arm on a small set of the layout, and goes on where it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from visgen.gan import load_gan

ROOT = Path(__file__).resolve().parents[2]


def write_cifar(folder: Path, count: int = 60) -> None:
    """Random pictures of 32 px in ten classes, in the layout of the set."""
    folder.mkdir(parents=True)
    generator, encoded = np.random.default_rng(0), []
    for i in range(count):
        path = folder / f"{i}.jpg"
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        encoded.append(path.read_bytes())
        path.unlink()
    offsets = np.cumsum([0, *map(len, encoded)])
    blob, names = np.frombuffer(b"".join(encoded), dtype=np.uint8), np.array([f"c{k}" for k in range(10)])
    np.savez(folder / "train.npz", blob=blob, offsets=offsets, labels=np.arange(count) % 10, classes=names)


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tasks" / "gan" / script), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


def train(data: Path, out: Path) -> subprocess.CompletedProcess[str]:
    words = ("--data-root", data, "--out", out, "--seeds", 0, "--set", "train.steps=2")
    return run("adaptive_mix.py", *words, "--set", "data.train.cifar10.limit=48", "--set", "train.save_every=1")


def test_both_arms_train_and_a_second_call_repeats_nothing(tmp_path: Path) -> None:
    write_cifar(tmp_path / "data" / "cifar10")
    done = train(tmp_path / "data", tmp_path / "runs")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("all steps at step 2") == 2
    hashes = {arm: load_gan(tmp_path / "runs" / f"{arm}-0" / "last").sha256 for arm in ("none", "adaptive_mix")}
    assert hashes["none"] != hashes["adaptive_mix"]
    again = train(tmp_path / "data", tmp_path / "runs")
    assert again.returncode == 0, again.stderr[-2000:]
    assert load_gan(tmp_path / "runs" / "none-0" / "last").sha256 == hashes["none"]
