"""The table of the OOD study: every figure links to its place in the record, and the page around it stays."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from visgen.metrics import summarise, write_record

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_is_written_between_its_marks(tmp_path: Path) -> None:
    row = {key: summarise([0.5, 0.7]) for key in ("top1", "radius", "between")}
    row["msp"] = {"near": {"AUROC": summarise([0.8, 0.9])}, "far": {"AUROC": summarise([0.9, 1.0])}}
    difference = {"difference": 0.01, "low": -0.02, "high": 0.04}
    choice = {"best": "mixup, msp", "present": "cross_entropy, msp", "difference": difference, "replaces": False}
    record = tmp_path / "r.json"
    write_record(
        record, command="x", config=None, seeds=[0, 1], data={"cifar10": "near tiny_imagenet"}, split="val",
        protocol={}, metrics={"cifar10": {"mixup": row}, "choice": {"cifar10": choice}},
    )  # fmt: skip
    page = tmp_path / "README.md"
    page.write_text(
        "before\n<!-- study: written by table.py -->\nold\n<!-- end of study -->\nafter\n", encoding="utf-8"
    )
    command = [sys.executable, "tasks/ood/table.py", str(record), "--readme", str(page)]
    for _ in range(2):  # written twice it is the same page
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    metrics = json.loads(record.read_text(encoding="utf-8"))
    for printed, path in re.findall(r"\[([\d.]+)\]\(r\.json#([^)]+)\)", text):
        value = metrics
        for key in path.split("."):
            value = value[key]
        assert f"{value:.3f}" == printed
    assert (
        text.count("r.json#") == 12
    )  # three rows with mean and spread, two of AUROC, the widest deviation, the choice
    assert "the default stays" in text
