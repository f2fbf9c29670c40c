"""`visgen data gaps`: a list of strata as a table and as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_gaps_are_listed(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, datasets: Path
) -> None:
    words = ("data", "gaps", model_folder, "--data", f"semantic:{datasets / 'street'}", "--min-images", 1)
    words += ("--data", f"depth:{datasets / 'garden'}")
    report = visgen_json(*words)
    assert [row["head"] for row in report["data"]] == ["segmentation.street", "depth"]
    first = report["data"][0]
    assert {g["kind"] for g in first["gaps"]} >= {"class"}
    assert all(g["low"] <= g["difference"] + 1e-9 and g["difference"] - 1e-9 <= g["high"] for g in first["gaps"])
    shown = visgen(*words).stdout
    assert "class sky" in shown and "depth 0 to 2 m" in shown and "verdict" in shown
    only = visgen_json(*words, "--task", "depth")
    assert [row["head"] for row in only["data"]] == ["depth"]


def test_a_wrong_share_is_a_users_mistake(visgen: Callable[..., Any], model_folder: Path, datasets: Path) -> None:
    result = visgen("data", "gaps", model_folder, "--data", f"semantic:{datasets / 'street'}", "--share", 2)
    assert result.exit_code == 2 and "in is 2.0" in result.stderr
