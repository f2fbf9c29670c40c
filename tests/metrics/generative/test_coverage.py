"""Neighbourhood figures, the score of a classifier, copies and spread: values by hand, laws, agreement with prdc."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import DataError
from visgen.metrics.generative import copy_check, feature_spread, inception_score, neighbourhood_figures


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return shift + torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_a_set_against_itself_is_perfect_and_against_a_far_one_worthless() -> None:
    x = draw(60, 4, 0)
    assert neighbourhood_figures(x, x) == pytest.approx(
        dict.fromkeys(("precision", "recall", "density", "coverage"), 1)
    )
    assert set(neighbourhood_figures(x, x + 100).values()) == {0.0}


def test_values_worked_by_hand_on_a_line() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0]])  # reach to the nearest other: 1, 1, 2
    fake = torch.tensor([[0.5], [0.6], [10.0]])  # 0.1, 0.1, 9.4
    found = neighbourhood_figures(real, fake, k=1)
    # 0.5 and 0.6 lie in the balls of 0 and 1; only the ball of 10, from 0.6 to 19.4 without its edge, holds 1 and 3
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["density"] == pytest.approx(4 / 3)
    assert found["coverage"] == pytest.approx(2 / 3)


def test_dropping_modes_costs_recall_and_coverage_and_noise_costs_precision() -> None:
    real = torch.cat((draw(50, 3, 1), draw(50, 3, 2, 30.0)))
    dropped = torch.cat((draw(50, 3, 3), draw(50, 3, 4)))
    noisy = real + 3 * draw(100, 3, 5)
    found, noise = neighbourhood_figures(real, dropped), neighbourhood_figures(real, noisy)
    assert found["precision"] > 0.8 and found["recall"] < 0.6 and found["coverage"] < 0.6
    assert noise["precision"] < 0.7 < noise["recall"]


def test_agreement_with_prdc() -> None:
    """prdc 0.2 on the same features; the four figures are shares, so they must be equal."""
    prdc = pytest.importorskip("prdc", reason="pip install 'visgen[eval]'")
    x, y = draw(200, 10, 6), draw(200, 10, 7, 0.4)
    theirs = prdc.compute_prdc(real_features=x.numpy(), fake_features=y.numpy(), nearest_k=5)
    assert neighbourhood_figures(x, y) == pytest.approx(theirs, abs=1e-9)


def test_the_score_of_a_classifier_runs_from_one_to_the_number_of_classes() -> None:
    assert inception_score(torch.tensor([[0.2, 0.8]]).repeat(7, 1)) == pytest.approx(1)
    assert inception_score(torch.eye(4).repeat(3, 1)) == pytest.approx(4)
    with pytest.raises(DataError, match="each row summing to 1"):
        inception_score(torch.ones(3, 2))


def test_the_score_agrees_with_torch_fidelity() -> None:
    pytest.importorskip("torch_fidelity", reason="pip install 'visgen[eval]'")
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = draw(90, 5, 8) * 3
    theirs = isc_features_to_metric(logits, splits=1, shuffle=False)
    assert inception_score(logits.softmax(1)) == pytest.approx(theirs["inception_score_mean"], rel=1e-5)


def test_a_copying_generator_is_found_and_an_honest_one_is_not() -> None:
    train, held_out = draw(300, 8, 9), draw(100, 8, 10)
    copies = train[:100] + 0.01 * draw(100, 8, 11)
    found, honest = copy_check(train, held_out, copies), copy_check(train, held_out, draw(100, 8, 12))
    assert found["ratio"] < 0.1 and found["near"] == 1
    assert honest["ratio"] == pytest.approx(1, abs=0.15) and honest["near"] < 0.1


def test_equal_numbers_are_asked_for() -> None:
    with pytest.raises(DataError, match="20 reals, 10 fakes and k 5"):
        neighbourhood_figures(draw(20, 2, 0), draw(10, 2, 1))


def test_spread_in_angle_and_in_norm_are_told_apart() -> None:
    angle = torch.tensor([-0.3, 0.3, 1.2707963, 1.8707963])  # two classes, each 0.3 rad about its direction
    features = torch.stack((angle.cos(), angle.sin()), 1)
    labels = torch.tensor([0, 0, 1, 1])
    found = feature_spread(features, labels)
    assert found["angle"] == pytest.approx(17.1887, abs=1e-3) and found["between"] == pytest.approx(90, abs=1e-4)
    assert found["sphere"] == pytest.approx(torch.tensor(0.3).sin().item(), abs=1e-6)
    assert found["norm"] == pytest.approx(1) and found["norm_spread"] == pytest.approx(0, abs=1e-6)
    longer = feature_spread(features * torch.tensor([1.0, 3.0, 1.0, 3.0])[:, None], labels)
    assert longer["angle"] == pytest.approx(found["angle"]) and longer["norm_spread"] > 0.5
    with pytest.raises(DataError, match="labels"):
        feature_spread(features, labels[:2])
