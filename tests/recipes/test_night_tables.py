"""Tables of the page and the card: every number of the record once, as a link to its place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from visgen.metrics import write_record


def test_tables_show_what_the_records_hold(
    load_recipe: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = {"F": 0.51, "precision": 0.52, "recall": 0.53}
    edges = {"generator": scores, "floor": scores, "ceiling": scores, "wanted": 0.54}
    called = {"translated": 0.61, "darkened": 0.62, "day": 0.63}
    rise = {"rise": -0.02, "added": -0.001}
    found: dict[str, Any] = {
        "edges": {"town": edges},
        "realism": {"accuracy": {"day": 0.71, "night": 0.72}, "KD": called, **dict.fromkeys(("val", "train"), called)},
        "visibility": {"day": 0.81, "translated": 0.82, "night": 0.83},
        "stability": {"shift": {"largest": 0.0091}, "sobel": {**rise, "dimmed": rise}},
        "consistency": {**{k: {"mIoU": 0.91} for k in (*called, "night")}, "ratio": 0.92},
    }
    found["realism"]["camvid"] = called
    ods = {"ODS": 0.11, "OIS": 0.12, "AP": 0.13}
    light = {key: {"mean": 0.31} for key in ("F", "precision", "recall", "light")}
    records: dict[str, dict[str, Any]] = {"validity": found, "variants": {"cut": light}}
    records["edges"] = dict.fromkeys(("learned", "sobel", "canny"), ods)
    for name, metrics in records.items():
        write_record(
            tmp_path / f"night_{name}.json",
            command="python x.py", config=None, seeds=[0], data="night", split="val", protocol={}, metrics=metrics,
        )  # fmt: skip
    recipe = load_recipe("night/tables")
    for page, names in (("README", ("validity", "edges", "variants")), ("CARD", ("figures",))):
        path = tmp_path / f"{page}.md"
        path.write_text("".join(f"<!-- table {n} -->\n<!-- end {n} -->\n" for n in names), encoding="utf-8")
        monkeypatch.setattr(recipe, page, path)
    monkeypatch.setattr(sys, "argv", ["tables.py", str(tmp_path)])
    recipe.main()
    page, card = ((tmp_path / f"{n}.md").read_text(encoding="utf-8") for n in ("README", "CARD"))
    assert (
        "[0.540](night_validity.json#metrics.edges.town.wanted)" in page
        and page.count("| `cut` | [0.310](night_variants.json#metrics.cut.F.mean) |") == 1
    )
    assert "[0.110](night_edges.json#metrics.canny.ODS)" in page
    assert "[0.0091](night_validity.json#metrics.stability.shift.largest)" in card and "`python x.py`" in card
    assert "[-0.0010](night_validity.json#metrics.stability.sobel.dimmed.added)" in card
    assert "[0.920](night_validity.json#metrics.consistency.ratio)" in card
