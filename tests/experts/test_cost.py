"""What a step costs: memory counted by hand, and less of it the less trains."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from visgen.config import RunConfig
from visgen.experts.cost import StepCost, measure_costs
from visgen.task import MultiTaskModel


def test_less_trained_is_less_kept(model: MultiTaskModel, make_run: Callable[..., RunConfig]) -> None:
    arms = ("head", "router", "top:2", "new:1", "lora:1", "full")
    found = measure_costs(model, {arm: make_run(arm) for arm in arms}, steps=2)
    assert list(found) == list(arms)
    for arm, cost in found.items():
        assert len(cost.seconds) == 2 and min(cost.seconds) > 0
        # AdamW in float32: one gradient and two moments for each value, and a step counter of 4 bytes for each tensor
        assert cost.gradients == 4 * cost.trained
        # and none for the pyramid of maps, which only other heads read
        assert 8 * cost.trained < cost.optimiser <= 8 * cost.trained + 4 * 60 or arm == "full"
        assert len(cost.cached_seconds) == (0 if arm in ("lora:1", "full") else 2)
    kept = [found[arm].activations for arm in ("head", "router", "top:2", "full")]
    assert kept == sorted(kept) and kept[0] < kept[1] / 5 < kept[3] / 5
    assert found["lora:1"].activations < found["full"].activations


def test_figures_in_plain_units() -> None:
    cost = StepCost(10, (0.2, 0.1, 0.6), (), 2**20, 2**19, 2**19)
    plain = cost.to_dict()
    assert plain["step"] == {"median_ms": pytest.approx(200), "least_ms": 100, "most_ms": 600, "steps": 3}
    assert plain["memory_MiB"] == 2 and plain["parts_MiB"]["gradients"] == 0.5 and "cached step" not in plain
