"""The parts of AdaptiveMix: worked values and the laws of its specification."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from visgen.losses import classification_loss, draw_mix, mix_rows, mixed_cross_entropy, shrink_loss


def test_mixing_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    partner = torch.tensor([1, 0])
    assert mix_rows(x, partner, 0.75).tolist() == [[0.75, 0.5], [0.25, 1.5]]
    assert mix_rows(x, partner, torch.tensor([1.0, 0.5])).tolist() == [[1.0, 0.0], [0.5, 1.0]]


def test_shrink_by_hand_and_without_a_gradient_of_the_target() -> None:
    mixed = torch.tensor([[1.0, 2.0]], requires_grad=True)
    target = torch.tensor([[0.0, 4.0]], requires_grad=True)
    loss = shrink_loss(mixed, target, sigma=0.0)
    assert float(loss.detach()) == pytest.approx((1 + 4) / 2)
    loss.backward()
    assert target.grad is None and mixed.grad.tolist() == [[1.0, -2.0]]


def test_a_linear_map_has_nothing_to_shrink() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(6, 4).double().requires_grad_(False), torch.randn(8, 6, dtype=torch.float64)
    lam, partner = draw_mix(8)
    middle = mix_rows(layer(x), partner, lam)
    assert float(shrink_loss(layer(mix_rows(x, partner, lam)), middle, sigma=0.0)) == pytest.approx(0, abs=1e-25)


def test_the_noise_has_the_stated_size() -> None:
    torch.manual_seed(0)
    zeros = torch.zeros(400, 50)
    assert float(shrink_loss(zeros, zeros, sigma=0.05)) == pytest.approx(0.05**2, rel=0.05)


def test_the_cross_entropy_of_a_mix_is_that_of_mixed_labels() -> None:
    torch.manual_seed(1)
    logits, labels = torch.randn(6, 4), torch.randint(0, 4, (6,))
    lam, partner = draw_mix(6)
    soft = mix_rows(F.one_hot(labels, 4).float(), partner, lam)
    torch.testing.assert_close(
        mixed_cross_entropy(logits, labels, labels[partner], lam), classification_loss(logits, soft)
    )
    rows = torch.full((6,), lam)
    torch.testing.assert_close(
        mixed_cross_entropy(logits, labels, labels[partner], rows),
        mixed_cross_entropy(logits, labels, labels[partner], lam),
    )
    one = mixed_cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([1]), torch.tensor([0]), 0.3)
    assert float(one) == pytest.approx(math.log(2))


def test_draws_follow_the_beta_distribution() -> None:
    torch.manual_seed(0)
    shares = torch.tensor([draw_mix(3, alpha=0.5)[0] for _ in range(3000)])
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1))
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shares.var()) == pytest.approx(1 / 8, abs=0.01)
    assert sorted(draw_mix(5)[1].tolist()) == [0, 1, 2, 3, 4]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="alpha is 0"):
        draw_mix(3, 0)
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 4\) with sigma 0.05"):
        shrink_loss(torch.zeros(2, 3), torch.zeros(2, 4))
