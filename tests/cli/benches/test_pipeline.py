"""`visgen bench pipeline`: the arithmetic of its rows, its pictures, and one whole run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visgen.cli.benches import pipeline as bench
from visgen.cli.benches.peers import PEERS, nearest_multiple


@pytest.mark.parametrize(("side", "patch", "found"), [(240, 14, 238), (320, 14, 322), (240, 16, 240), (5, 16, 16)])
def test_nearest_multiple(side: int, patch: int, found: int) -> None:
    assert nearest_multiple(side, patch) == found


def test_a_row_holds_median_quartiles_and_throughput() -> None:
    row = bench._row("visgen, depth", [0.1, 0.2, 0.3, 0.4, 0.5], 16, "320x240")
    assert row["median_ms"] == pytest.approx(300)
    assert (row["low_ms"], row["high_ms"]) == (pytest.approx(150), pytest.approx(450))
    assert row["lowest_ms"] == pytest.approx(100)
    assert row["images_per_second"] == pytest.approx(16 / 0.3)
    assert row["pass"] == "file to answers"
    assert bench._row("bare model, depth", [0.1], 1, "x")["pass"] == "predict on a tensor"


def test_overhead_is_the_median_of_differences_round_by_round() -> None:
    assert bench._gap_ms([0.010, 0.020, 0.100], [0.009, 0.017, 0.050]) == pytest.approx(3)


def test_a_target_is_met_up_to_its_limit() -> None:
    assert bench._target("x", 2.0, 2.0)["met"]
    assert not bench._target("x", 2.1, 2.0)["met"]


def test_pictures_are_photographs_of_one_size(tmp_path: Path) -> None:
    paths = bench.write_pictures(tmp_path, 7)
    assert [Image.open(path).size for path in paths] == [(320, 240)] * 7
    assert paths[0].read_bytes() == paths[6].read_bytes() != paths[1].read_bytes()  # six photographs, then again


def test_counts_are_checked(visgen: Callable[..., Any]) -> None:
    result = visgen("bench", "pipeline", "--repeats", "0")
    assert result.exit_code == 2
    assert "repeats 0" in result.stderr


@pytest.mark.slow
def test_a_whole_run(visgen_json: Callable[..., Any]) -> None:
    report = visgen_json("bench", "pipeline", "--threads", "1", "--repeats", "1")
    cases = {(row["case"], row["batch"]) for row in report["rows"]}
    assert {(peer, batch) for peer in PEERS for batch in (1, 16)} <= cases
    assert {(bench.TOGETHER, 1), (bench.TOGETHER, 16), (bench.ONE_BY_ONE, 1)} <= cases
    assert all(row["median_ms"] > 0 for row in report["rows"])
    assert all(row["peak_mib"] > 50 for row in report["rows"] if row.get("peak_mib") is not None)
    assert "not accuracy" in report["note"]
    assert {"name", "value", "limit", "met"} == set(report["targets"][0])
