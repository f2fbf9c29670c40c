"""The control of the experts: its dense models differ in what they shall, and the report holds what the runs found."""

from __future__ import annotations

import json
import runpy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tasks" / "experts" / "control.py"


def arguments(folder: Path, **changes: Any) -> Namespace:
    given = {"data_root": "x", "seeds": [0, 1], "out": folder, "set": [], "report": folder / "record.json"}
    return Namespace(**{**given, "readme": folder / "README.md", **changes})


def test_a_dense_model_is_the_same_run_of_one_label_set(tmp_path: Path) -> None:
    recipe = runpy.run_path(str(SCRIPT))
    experts, dense = (recipe["configure"](2, name, arguments(tmp_path)) for name in (None, "town"))
    assert dense.model.options == {**experts.model.options, "layout": "dense"}
    assert list(dense.data.train) == list(dense.data.val) == ["town"]
    assert dense.data.train["town"] == experts.data.train["town"] and dense.train == experts.train
    assert dense.optim == experts.optim and dense.seed == experts.seed == 2 and dense.out != experts.out
    assert [head.route for head in experts.model.heads.values()] == ["", "caltech100", "town"]
    assert not experts.model.options["stem_maps"] and not experts.model.options["stem_token"]


def point(load: float, random: float, **kind: float) -> dict[str, Any]:
    spread = {"top1": {"mean": random, "std": 0.0, "n": 1, "values": [random]}}
    return {**kind, "parameters": 5, "load": {"top1": load}, "magnitude": {"top1": 0.2}, "random": spread}


def test_the_report_sums_up_the_seeds(tmp_path: Path) -> None:
    recipe = runpy.run_path(str(SCRIPT))
    for seed, shift in enumerate((0.0, 0.1)):
        keeps = [point(0.6 + shift, 0.3, keep=keep) for keep in (1, 2, 4, 8)]
        curve = {
            "full": {"top1": 0.7 + shift},
            "silent": {"top1": 0.1},
            "points": [point(0.5, 0.4, theta=0.03), *keeps],
        }
        town = {"curve": curve, "dense": {"top1": 0.65, "parameters": 9}}
        routing = [{"layer": "blocks.0.attn", "I/logT": 0.5 + shift}]
        (tmp_path / f"result-{seed}.json").write_text(json.dumps({"routing": routing, "town": town}))
    (tmp_path / "README.md").write_text("<!-- table control -->\n<!-- end control -->\n")
    recipe["report"](arguments(tmp_path))
    found = read_record(tmp_path / "record.json")["metrics"]
    assert found["town"]["full"]["mean"] == pytest.approx(0.75) and found["town"]["silent"]["std"] == 0
    assert found["town"]["keep 4"]["over random"]["values"] == pytest.approx([0.3, 0.4])
    assert found["town"]["theta 0.03"]["visited most"]["mean"] == 0.5 and found["town"]["dense"]["parameters"] == 9
    assert found["I over log T"]["blocks.0.attn"]["mean"] == pytest.approx(0.55)
    rows = (tmp_path / "README.md").read_text().splitlines()
    assert (
        "| full model | [0.750](record.json#metrics.town.full.mean) ± [0.071](record.json#metrics.town.full.std) |"
        in rows
    )
    assert sum("kept, visited most" in row for row in rows) == 4
