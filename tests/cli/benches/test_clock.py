"""Timing cases side by side."""

from __future__ import annotations

import statistics

from visgen.cli.benches.clock import interleave


def test_runs_are_interleaved_and_the_warm_up_is_left_out() -> None:
    order: list[str] = []
    seconds = interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 4, warm_up=2)
    assert order == ["a", "b"] * 6
    assert [len(v) for v in seconds.values()] == [4, 4]
    assert statistics.median(seconds["a"]) >= 0
