"""Probe pictures reach every expert that a task can select, also a rare one; or it is said which was not reached."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import ConfigError
from visgen.export.dense import routed_parts
from visgen.export.graph import build_graph
from visgen.export.parity import require_reach
from visgen.export.probe import _watched, find_probes
from visgen.nn.routing import Route
from visgen.task import MultiTaskModel

ATTENTION, MLP = "backbone.blocks.0.attn", "backbone.blocks.1.mlp"


def visited(graph: torch.nn.Module, image: Tensor) -> dict[str, set[int]]:
    with torch.no_grad(), _watched(graph) as seen:
        graph(image)
    return {name: set(routing.experts.unique().tolist()) for name, routing in seen.items()}


def test_every_expert_is_reached_by_the_picture_named_for_it(model: MultiTaskModel) -> None:
    graph = build_graph(model, "depth", is_dense=False)
    probes = find_probes(graph, (33, 48))
    require_reach(probes)
    assert set(probes.reached) == {ATTENTION, MLP}
    for name, found in probes.reached.items():
        assert set(found) == {0, 1, 2, 3}
        for expert, at in found.items():
            assert expert in visited(graph, probes.images[at])[name]


def bias_scores(graph: torch.nn.Module, strength: float) -> None:
    """Give the tokens before the routed MLP a constant part that all its experts but the last like."""
    part = dict(routed_parts(graph))[MLP]
    norm = graph.get_submodule("backbone.blocks.1.norm2")
    with torch.no_grad():
        norm.bias[0] = strength
        (router,) = part.router.tasks.values()
        router.weight[:3, 0] = 1.0
        router.weight[3] = 0
        router.weight[3, 0] = -1.0
        router.weight[3, 1] = 2.0


def test_a_rare_expert_is_found_by_gradient(model: MultiTaskModel) -> None:
    graph = build_graph(model, "depth", is_dense=False)
    bias_scores(graph, 1.0)
    from visgen.export import probe

    candidates = probe._random_pictures((33, 48), 0)
    share = sum(3 in visited(graph, image)[MLP] for image in candidates.split(1)) / len(candidates)
    probes = find_probes(graph, (33, 48))
    require_reach(probes)
    assert 3 in probes.reached[MLP]
    assert share < 1  # it is rare, or the test shows nothing


def test_an_expert_out_of_reach_is_named(model: MultiTaskModel) -> None:
    graph = build_graph(model, "depth", is_dense=False)
    bias_scores(graph, 40.0)  # a normalised value of 32 channels is at most sqrt(31)
    probes = find_probes(graph, (33, 48))
    assert probes.missed[MLP] == [3]
    with pytest.raises(ConfigError, match=r"no probe picture reached these experts: backbone\.blocks\.1\.mlp: 3\."):
        require_reach(probes)


def test_a_denied_expert_need_not_be_reached(model: MultiTaskModel) -> None:
    graph = build_graph(model, "depth", is_dense=False)
    bias_scores(graph, 40.0)
    dict(routed_parts(graph))[MLP].router.set_route("depth", Route(deny=(3,)))
    require_reach(find_probes(graph, (33, 48)))
