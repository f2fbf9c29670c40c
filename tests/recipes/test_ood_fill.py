"""The tables of the OOD page: every figure links to its place in a record, whatever recipe wrote that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from visgen.metrics import ood_figures, write_record
from visgen.ood import table_of_halves

ROOT = Path(__file__).resolve().parents[2]
MARKS = "".join(f"<!-- table {n} -->\nold\n<!-- end {n} -->\n" for n in ("scores", "segmentation.camvid", "pixels"))


def halves(*sides: str) -> dict[str, Any]:
    g = torch.Generator().manual_seed(0)
    draw = lambda: {p + h: torch.randn(20, generator=g) for p in ("val", *sides) for h in "01"}  # noqa: E731
    return table_of_halves({"msp": draw(), "knn": draw()}, sides, "msp")


def test_each_record_fills_its_table(tmp_path: Path) -> None:
    figures = {**ood_figures(torch.rand(9), torch.rand(9)), "images": 7}
    records = {
        "scores": {**halves("far", "near"), "bytes": {"msp": 1, "knn": 400}},
        "dense": {"segmentation.camvid": halves("near", "dark")},
        "pixels": {"town": {"msp": {"unseen kinds": figures}, "mIoU": 0.5}},
    }
    page = tmp_path / "README.md"
    page.write_text(f"before\n{MARKS}after\n", encoding="utf-8")
    for name, metrics in records.items():
        write_record(tmp_path / f"{name}.json", command="x", config=None, seeds=[], data="d", split="val",
                     protocol={}, metrics=metrics)  # fmt: skip
    command = [sys.executable, "tasks/ood/fill.py", *(str(tmp_path / f"{n}.json") for n in records)]
    for _ in range(2):  # written twice it is the same page
        done = subprocess.run([*command, "--readme", str(page)], cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "old" not in text and text.startswith("before\n") and text.endswith("after\n")
    links = re.findall(r"\[([\d.]+)\]\((\w+)\.json#([^)]+)\)", text)
    assert len(links) == 2 * 8 + 2 * 7 + 4
    for printed, name, path in links:
        rest = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["metrics"]
        value = rest["segmentation.camvid"] if name == "dense" else rest
        for key in path.replace("metrics.", "").replace("segmentation.camvid.", "").replace("%20", " ").split("."):
            value = value[key]
        assert printed == (str(value) if isinstance(value, int) else f"{value:.3f}")
