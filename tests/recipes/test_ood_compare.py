"""The OOD study on invented vectors: every arm trains, every score is measured, the record holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def test_the_study_writes_its_record(tmp_path: Path) -> None:
    g = torch.Generator().manual_seed(0)
    centres = 4 * torch.randn(3, 24, generator=g)
    draw = lambda n, far=0.0: (centres + far)[torch.arange(n) % 3] + torch.randn(n, 24, generator=g)  # noqa: E731
    kept = {"train.x": draw(150), "train.y": torch.arange(150) % 3, "val.x": draw(60), "val.y": torch.arange(60) % 3}
    kept |= {"near.x": draw(30, 5.0), "far.x": 9 * torch.randn(30, 24, generator=g)}
    for mix in ("mix0", "mix1"):
        partner, lam = torch.randperm(150, generator=g), torch.rand(150, generator=g)
        x = lam[:, None] * kept["train.x"] + (1 - lam[:, None]) * kept["train.x"][partner]
        kept |= {f"{mix}.x": x, f"{mix}.partner": partner, f"{mix}.lam": lam}
    save_file(kept, tmp_path / "dots.safetensors", metadata={"lists": json.dumps({"train": {"images": 150}})})
    words = ["tasks/ood/compare.py", "--vectors", str(tmp_path), "--record", str(tmp_path / "r.json"), "--epochs", "8"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words, "--seeds", "0", "1"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    record = read_record(tmp_path / "r.json")
    arms = record["metrics"]["dots"]
    assert set(arms) == {"cross_entropy", "mixup", "orthogonal", "adaptive_mix", "adaptive_mix_10"}
    choice = record["metrics"]["choice"]["dots"]
    assert choice["present"] == "cross_entropy, max_logit_mahalanobis" and len(choice["ranking"]) == 5 * 10
    assert choice["difference"]["low"] <= choice["difference"]["difference"] <= choice["difference"]["high"]
    assert all(row["top1"]["mean"] > 0.9 for row in arms.values())
    assert all(0 <= row["energy"]["far"]["AUROC"]["values"][1] <= 1 for row in arms.values())
    assert record["protocol"]["lists"]["dots"]["train"]["images"] == 150
