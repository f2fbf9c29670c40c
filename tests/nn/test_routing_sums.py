"""Joining the sums of groups of a batch, also where their tokens visit different numbers of experts."""

from __future__ import annotations

import torch

from visgen.nn.route import GONE
from visgen.nn.routing import TaskRows, route_top_k
from visgen.nn.routing_sums import merge_statistics, routing_statistics


def test_a_group_that_visits_fewer_experts_is_filled_up_with_none() -> None:
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    tasks = [TaskRows((name,), torch.tensor([i])) for i, name in enumerate("ab")]
    parts = [
        routing_statistics(route_top_k(logits[i : i + 1], k), tasks[i], collect=True) for i, k in enumerate((3, 2))
    ]
    joined = merge_statistics(parts, torch.tensor([1, 0]))  # the second group's picture comes first
    assert joined["experts"].shape == (2, 5, 3)
    assert (joined["experts"][0, :, 2] == GONE).all() and (joined["weights"][0, :, 2] == 0).all()
    assert torch.equal(joined["experts"][0, :, :2], parts[1]["experts"][0])
    assert torch.equal(joined["experts"][1], parts[0]["experts"][0])
    assert torch.equal(joined["selected"], torch.cat([p["selected"] for p in parts]))
