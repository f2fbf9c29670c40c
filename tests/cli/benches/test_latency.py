"""`visgen bench latency`."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_bench_prints_rows_with_ratios(visgen_json: Callable[..., Any], model_folder: Path) -> None:
    report = visgen_json("bench", "latency", "--model", model_folder, "--repeats", 3, "--threads", 1)
    assert (report["bench"], report["environment"]["threads"]) == ("latency", 1)
    assert report["model"] == str(model_folder)
    rows = report["rows"]
    yard = rows[0]
    assert yard["case"] == "timm vit_tiny_patch16_224 224x224" and yard["ratio"] == 1
    heads = ["classification", "segmentation.street", "segmentation.pets", "depth"]
    tasks = ["classification", "segmentation.street", "depth"]
    assert [r["heads"] for r in rows[1:7]] == [*([h] for h in heads), tasks, heads]
    assert [r["case"] for r in rows[5:7]] == ["all 3 tasks 320x240", "all 4 heads 320x240"]
    for row in rows:
        assert {"case", "dtype", "pass", "median_ms", "ratio", "against", "gflop", "flop_ratio"} <= set(row)
        assert 0 < row["lowest_ms"] <= row["median_ms"]
    assert yard["gflop"] == pytest.approx(2.51, abs=0.02)  # 1.26 G multiply-adds, of the linear layers and attention
    alone = [r["median_ms"] for r in rows[1:5]]
    counted = [r["gflop"] for r in rows[1:5]]
    assert max(counted) < rows[5]["gflop"] < rows[6]["gflop"] < sum(counted)
    for together, block in ((rows[5], rows[7:11]), (rows[6], rows[11:15])):
        assert together["ratio"] == pytest.approx(together["median_ms"] / yard["median_ms"])
        slowest = counted[alone.index(max(alone))]
        flop = (statistics.median(counted), statistics.mean(counted), slowest, sum(counted))
        milliseconds = (statistics.median(alone), statistics.mean(alone), max(alone), sum(alone))
        for row, ms, gflop in zip(block, milliseconds, flop, strict=True):
            assert row["case"] == together["case"]
            assert row["ratio"] == pytest.approx(together["median_ms"] / ms)
            assert row["flop_ratio"] == pytest.approx(together["gflop"] / gflop)


@pytest.mark.parametrize("words", [("--threads", "0"), ("--repeats", "0")])
def test_bench_refuses_zero(visgen: Callable[..., Any], words: tuple[str, str]) -> None:
    result = visgen("bench", "latency", *words)
    assert result.exit_code == 2
    assert "must be at least 1" in result.stderr


def test_a_record_that_could_not_be_written_costs_no_measurement(visgen: Callable[..., Any]) -> None:
    result = visgen("bench", "latency", "--model", "nosuch", "--record", "x.txt")
    assert result.exit_code == 2 and "'x.txt' does not end in .json" in result.stderr
