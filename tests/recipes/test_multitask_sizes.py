"""The table of sizes counts what the model has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from visgen.backbones import ViTMoE, ViTMoEConfig
from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_of_sizes_counts_parameters(tmp_path: Path) -> None:
    record = tmp_path / "sizes.json"
    command = [sys.executable, str(ROOT / "tasks/multitask/sizes.py"), "--sizes", "tiny", "--size", "64"]
    done = subprocess.run([*command, "--record", str(record)], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    tiny = read_record(record)["metrics"]["tiny"]
    model = ViTMoE(ViTMoEConfig.named("tiny", tasks=("task0",)))
    assert tiny["moe"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert tiny["dense"]["parameters"] == tiny["dense"]["active"]
    assert abs(tiny["dense"]["active"] / tiny["moe"]["active"] - 1) < 0.02
    assert f"{tiny['moe']['parameters']:,d}" in done.stdout
