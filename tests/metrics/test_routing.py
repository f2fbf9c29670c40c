"""Routing statistics against scipy, the corner cases that define them, and their laws."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.metrics import routing_summary
from visgen.metrics.routing import (
    dead_experts,
    expert_entropy,
    mutual_information,
    normalised_mutual_information,
    task_overlap,
    top_sets,
)


def draw(seed, tasks=3, experts=8, sharpness=2.0):
    g = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(tasks, experts, generator=g)).softmax(1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scipy(seed, weighted):
    p = draw(seed).double().numpy()
    prior = np.array([0.5, 0.3, 0.2]) if weighted else np.full(3, 1 / 3)
    marginal = prior @ p
    divergence = sum(w * scipy.stats.entropy(row, marginal) for w, row in zip(prior, p, strict=True))
    joint = (prior[:, None] * p).ravel()
    independent = (prior[:, None] * marginal).ravel()
    given_weights = torch.from_numpy(prior) if weighted else None
    ours = mutual_information(draw(seed), given_weights)
    assert ours == pytest.approx(divergence, abs=1e-6)
    assert ours == pytest.approx(scipy.stats.entropy(joint, independent), abs=1e-6)
    assert expert_entropy(draw(seed), given_weights) == pytest.approx(scipy.stats.entropy(marginal), abs=1e-6)


def test_uniform_routers_share_no_information():
    assert mutual_information(torch.full((4, 8), 1 / 8)) == pytest.approx(0.0, abs=1e-12)


def test_a_partition_gives_log_t():
    p = torch.block_diag(*[torch.full((1, 2), 0.5) for _ in range(4)])
    assert mutual_information(p) == pytest.approx(math.log(4))
    assert normalised_mutual_information(p) == pytest.approx(1.0)
    assert expert_entropy(p) == pytest.approx(math.log(8))


def test_one_task_has_no_information_by_definition():
    assert mutual_information(draw(0, tasks=1)) == pytest.approx(0.0, abs=1e-12)
    assert normalised_mutual_information(draw(0, tasks=1)) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 9))
def test_laws(seed, tasks, experts):
    p = draw(seed, tasks, experts)
    value = mutual_information(p)
    assert 0 <= value <= min(math.log(tasks), math.log(experts)) + 1e-9
    assert 0 <= normalised_mutual_information(p) <= 1
    order = torch.randperm(experts, generator=torch.Generator().manual_seed(seed))
    assert mutual_information(p[:, order]) == pytest.approx(value, abs=1e-9)
    mean_entropy = np.mean([scipy.stats.entropy(row) for row in p.double().numpy()])
    assert value == pytest.approx(expert_entropy(p) - mean_entropy, abs=1e-6)  # H(E) - H(E|T)
    blurred = 0.5 * p + 0.5 / experts
    assert mutual_information(blurred) <= value + 1e-9  # data processing
    overlap = task_overlap(p, k=max(1, experts // 2))
    assert torch.equal(overlap, overlap.T) and bool((overlap.diagonal() == 1).all())
    assert bool(((overlap >= 0) & (overlap <= 1)).all())


def test_top_sets_and_overlap_hand_worked():
    p = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]])
    assert top_sets(p, 2) == [{0, 1}, {1, 2}, {0, 1}]  # equals: the lower index first
    assert task_overlap(p, 2).tolist() == pytest.approx(np.array([[1, 1 / 3, 1], [1 / 3, 1, 1 / 3], [1, 1 / 3, 1]]))


def test_dead_experts():
    load = torch.tensor([[2.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.02, 1.0]])
    assert dead_experts(load) == [1]
    assert dead_experts(load, threshold=0.05) == [1, 2]


def test_summary_holds_the_same_figures():
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]])
    summary = routing_summary(p, ("classification", "depth"), k=2)
    assert summary.mutual_information == mutual_information(p)
    assert summary.normalised == pytest.approx(0.5)
    assert summary.dead == (3,) and summary.experts == 4
    assert summary.overlap == pytest.approx({"classification|depth": 1 / 3})
    assert summary.to_dict()["I/logT"] == summary.normalised
    used = routing_summary(p, ("classification", "depth"), k=2, load=torch.ones(2, 4))
    assert used.dead == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mutual_information(torch.ones(3)), r"shape \(3,\); they must be \(T, E\)"),
        (lambda: mutual_information(torch.zeros(0, 4)), r"shape \(0, 4\)"),
        (lambda: mutual_information(torch.tensor([[0.5, 0.5], [0.0, 0.0]])), "task 1 sum to 0;.*left out"),
        (lambda: mutual_information(torch.tensor([[1.5, -0.5]])), r"span -0\.5\.\.1\.5"),
        (lambda: mutual_information(torch.tensor([[float("nan"), 1.0]])), "finite"),
        (lambda: mutual_information(draw(0), torch.tensor([1.0, 1.0])), r"task weights are \[1\.0, 1\.0\]; give 3"),
        (lambda: top_sets(draw(0), 9), r"k is 9 but there are 8 experts; use 1\.\.8"),
        (lambda: routing_summary(draw(0), ("a", "b"), 2), "2 task names came with 3 rows"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(DataError, match=message):
        call()
