"""The AdaptiveMix experiment trains each arm on a small set of the layout, and goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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


def told(script: str, *words: object) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tasks" / "gan" / script), *map(str, words)]
    return {"args": command, "cwd": ROOT, "env": environment, "text": True}


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**told(script, *words), capture_output=True, timeout=280)


def train(data: Path, out: Path, *arms: str) -> subprocess.CompletedProcess[str]:
    words = ("--data-root", data, "--out", out, "--seeds", 0, "--arms", *arms, "--set", "train.steps=2")
    return run("adaptive_mix.py", *words, "--set", "data.train.cifar10.limit=48", "--set", "train.save_every=1")


def test_both_arms_train_and_a_second_call_repeats_nothing(tmp_path: Path) -> None:
    write_cifar(tmp_path / "data" / "cifar10")
    arms = ("none", "adaptive_mix", "longer")
    done = train(tmp_path / "data", tmp_path / "runs", *arms)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("all steps at step 2,") == 2
    assert "longer seed 0: all steps at step 3," in done.stdout  # as long as a step with the term takes
    hashes = {arm: load_gan(tmp_path / "runs" / f"{arm}-0" / "last").sha256 for arm in ("none", "adaptive_mix")}
    assert hashes["none"] != hashes["adaptive_mix"]
    again = train(tmp_path / "data", tmp_path / "runs", "none")
    assert again.returncode == 0, again.stderr[-2000:]
    assert load_gan(tmp_path / "runs" / "none-0" / "last").sha256 == hashes["none"]


def test_sigterm_ends_the_experiment_not_only_the_arm_that_trains(tmp_path: Path) -> None:
    write_cifar(tmp_path / "data" / "cifar10")
    words = ["--data-root", tmp_path / "data", "--out", tmp_path / "runs", "--seeds", 0]
    words += ["--set", "train.steps=100000", "--set", "train.log_every=1", "--set", "data.train.cifar10.limit=48"]
    log, deadline = tmp_path / "runs" / "none-0" / "log.csv", time.monotonic() + 200
    pipe = subprocess.PIPE
    with subprocess.Popen(**told("adaptive_mix.py", *words), stdout=pipe, stderr=pipe) as process:
        try:
            while not (log.exists() and len(log.read_text(encoding="utf-8").splitlines()) > 1):
                assert process.poll() is None and time.monotonic() < deadline, "the first arm never trained"
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=80)
        finally:
            process.kill()
    assert process.returncode == 1 and "the same command goes on" in errors
    assert "none seed 0: SIGTERM at step" in output and list((tmp_path / "runs/none-0/checkpoints").glob("step-*"))
    assert not (tmp_path / "runs" / "adaptive_mix-0").exists()
