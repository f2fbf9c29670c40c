"""The comparison accepts rounding and nothing else: a lost or swapped expert is noticed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visgen.errors import ConfigError
from visgen.export.dense import routed_parts
from visgen.export.graph import HeadGraph, build_graph, each_output
from visgen.export.parity import check_parity, difference
from visgen.export.probe import Probes, find_probes
from visgen.task import MultiTaskModel

MLP = "backbone.blocks.1.mlp"


@pytest.fixture(scope="module")
def checked(model: MultiTaskModel) -> tuple[HeadGraph, Probes]:
    graph = build_graph(model, "segmentation", is_dense=False)
    return graph, find_probes(graph, (33, 48))


def runner(graph: torch.nn.Module):
    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return [output.numpy() for output in each_output(graph(torch.from_numpy(images)))]

    return run


def test_difference_is_absolute_for_small_and_relative_for_large_numbers() -> None:
    assert difference([0.0, 0.001], [0.0, 0.0]) == pytest.approx(0.001)
    assert difference([1001.0], [1000.0]) == pytest.approx(1 / 1001)
    assert difference([float("nan")], [0.0]) == float("inf")
    with pytest.raises(ConfigError, match=r"gives shape \(1,\) where the model gives \(2,\)"):
        difference([0.0], [0.0, 0.0])


def test_the_dense_graph_passes_and_the_report_says_what_was_seen(
    model: MultiTaskModel, checked: tuple[HeadGraph, Probes]
) -> None:
    report = check_parity(*checked, runner(build_graph(model, "segmentation")), [(40, 50)])
    assert report["largest_difference"] < 1e-4
    assert report["experts_reached"][MLP] == [0, 1, 2, 3]
    assert report["least_effect_of_an_expert"] > 3 * report["largest_difference"]


@pytest.mark.parametrize("expert", range(4))
@pytest.mark.parametrize("part", ["backbone.blocks.0.attn", MLP])
def test_any_lost_expert_is_noticed(
    model: MultiTaskModel, checked: tuple[HeadGraph, Probes], part: str, expert: int
) -> None:
    broken = build_graph(model, "segmentation")
    module = dict(routed_parts(broken))[part]
    with torch.no_grad():
        for name in ("w2", "b2") if part == MLP else ("o",):
            getattr(module, name)[expert] = 0
    with pytest.raises(ConfigError, match=r"differs from the model by|would change the probes by less than"):
        check_parity(*checked, runner(broken))


def test_an_expert_that_says_nothing_is_refused(model: MultiTaskModel, checked: tuple[HeadGraph, Probes]) -> None:
    graph = build_graph(model, "segmentation", is_dense=False)
    with torch.no_grad():
        for tensor in ("w2", "b2"):
            getattr(dict(routed_parts(graph))[MLP], tensor)[2] = 0
    run = runner(graph)
    with pytest.raises(ConfigError, match=r"leaving out backbone\.blocks\.1\.mlp expert 2 would change"):
        check_parity(graph, find_probes(graph, (33, 48)), lambda images: [output + 1e-6 for output in run(images)])
