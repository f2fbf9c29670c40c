"""Depth losses against hand-worked values, naive loops and the laws that give them their names."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.losses import (
    berhu_loss,
    depth_loss,
    gradient_matching_loss,
    log_l1_loss,
    scale_invariant_log_loss,
)

ALL = (scale_invariant_log_loss, log_l1_loss, berhu_loss, gradient_matching_loss)


def draw(seed=0, batch=3, size=(9, 10), missing=0.3):
    g = torch.Generator().manual_seed(seed)
    target = 0.3 + 8 * torch.rand(batch, *size, generator=g)
    prediction = target * torch.exp(0.4 * torch.randn(batch, *size, generator=g))
    target[torch.rand(batch, *size, generator=g) < missing] = 0.0
    return prediction, target


def test_hand_worked():
    target = torch.tensor([[[1.0, 2.0], [0.0, 4.0]]])
    prediction = torch.tensor([[[math.e, 2.0], [9.0, 4.0]]])  # d = 1, 0, missing, 0
    assert math.isclose(float(scale_invariant_log_loss(prediction, target)), 1 / 3 - 0.5 / 9, rel_tol=1e-5)
    assert math.isclose(float(scale_invariant_log_loss(prediction, target, lam=0.0)), 1 / 3, rel_tol=1e-5)
    rooted = float(scale_invariant_log_loss(prediction, target, root=True))
    assert math.isclose(rooted, math.sqrt(1 / 3 - 0.5 / 9), abs_tol=2e-4)
    assert math.isclose(float(log_l1_loss(prediction, target)), 1 / 3, rel_tol=1e-5)
    # the one step between valid neighbours along the top row is 1, the one down the right column is 0; scale 1: none
    assert math.isclose(float(gradient_matching_loss(prediction, target)), 1 / 2, rel_tol=1e-5)


def test_berhu_hand_worked():
    target = torch.tensor([[[1.0, 1.0, 1.0]]])
    prediction = torch.tensor([[[1.1, 1.0, 2.0]]])  # errors .1, 0, 1; c = .2; (1 + .04) / .4 = 2.6
    assert math.isclose(float(berhu_loss(prediction, target)), (0.1 + 0 + 2.6) / 3, rel_tol=1e-4)


def naive(prediction, target, lam=0.5, scales=4):
    p, t = prediction.double().numpy(), target.double().numpy()
    silog, l1, steps = [], [], []
    for b in range(len(p)):
        d = {(i, j): math.log(p[b, i, j] / t[b, i, j]) for i, j in np.ndindex(*t.shape[1:]) if t[b, i, j] > 0}
        values = list(d.values())
        if not values:
            continue
        n = len(values)
        silog.append(sum(v * v for v in values) / n - lam * sum(values) ** 2 / n**2)
        l1.append(sum(map(abs, values)) / n)
        means = []
        for s in (2**k for k in range(scales)):
            kept = {k: v for k, v in d.items() if k[0] % s == 0 and k[1] % s == 0}
            pairs = [abs(kept[i, j] - kept[m]) for i, j in kept for m in ((i + s, j), (i, j + s)) if m in kept]
            if pairs:
                means.append(sum(pairs) / len(pairs))
        if means:
            steps.append(sum(means) / len(means))
    return np.mean(silog), np.mean(l1), np.mean(steps)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.8])
def test_equal_naive_loops(missing):
    prediction, target = draw(1, missing=missing)
    target[1] = 0.0  # an image without any measurement does not count
    silog, l1, steps = naive(prediction, target)
    assert math.isclose(float(scale_invariant_log_loss(prediction, target)), silog, rel_tol=1e-4)
    assert math.isclose(float(log_l1_loss(prediction, target)), l1, rel_tol=1e-4)
    assert math.isclose(float(gradient_matching_loss(prediction, target)), steps, rel_tol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 5.0))
def test_laws(seed, scale):
    prediction, target = draw(seed)
    for loss in ALL:
        value = float(loss(prediction, target))
        assert value >= 0
        if loss is not gradient_matching_loss:  # its subsampling starts at the left border
            assert math.isclose(value, float(loss(prediction.flip(2), target.flip(2))), rel_tol=1e-4)
        assert float(loss(target.clamp_min(0.01), target)) < 1e-6  # a perfect map costs nothing
        elsewhere = torch.where(target > 0, prediction, torch.full_like(prediction, float("nan")))
        assert math.isclose(value, float(loss(elsewhere, target)), rel_tol=1e-5)  # missing pixels do not matter
    blind = [scale_invariant_log_loss(p, target, lam=1.0) for p in (prediction, scale * prediction)]
    assert torch.allclose(*blind, rtol=1e-3, atol=1e-5)  # lambda 1 does not see the scale
    assert torch.allclose(
        gradient_matching_loss(prediction, target), gradient_matching_loss(scale * prediction, target), atol=1e-4
    )
    assert float(scale_invariant_log_loss(scale * target.clamp_min(0.01), target, lam=0.5)) == pytest.approx(
        0.5 * math.log(scale) ** 2, rel=1e-3, abs=1e-6
    )


@pytest.mark.parametrize("loss", ALL)
def test_no_measurement_is_zero_with_a_finite_gradient(loss):
    prediction = torch.rand(2, 8, 8, requires_grad=True)
    value = loss(prediction, torch.zeros(2, 8, 8))
    value.backward()
    assert value.item() == 0.0 and bool((prediction.grad == 0).all())


@pytest.mark.parametrize("loss", [*ALL, lambda p, t: scale_invariant_log_loss(p, t, root=True)])
def test_gradients_are_finite_at_the_optimum_and_for_bad_targets(loss):
    target = torch.ones(1, 8, 8)
    target[0, 0] = float("inf")
    target[0, 1] = float("nan")
    prediction = torch.ones(1, 8, 8, requires_grad=True)
    value = loss(prediction, target)
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-6) and bool(torch.isfinite(prediction.grad).all())


@pytest.mark.parametrize(("loss", "step"), [(scale_invariant_log_loss, 15.0), (log_l1_loss, 15.0), (berhu_loss, 1.0)])
def test_descent_lowers_the_error(loss, step):
    prediction, target = draw(5)
    valid, start = target > 0, prediction.log()
    log_p = start.clone().requires_grad_(True)
    for _ in range(80):
        (gradient,) = torch.autograd.grad(loss(log_p.exp(), target), log_p)
        log_p = (log_p - step * gradient).detach().requires_grad_(True)
    gap_before = (start.exp() - target).abs()[valid].mean()
    gap_after = (log_p.detach().exp() - target).abs()[valid].mean()
    assert float(gap_after) < 0.7 * float(gap_before)


def test_weighted_sum():
    prediction, target = draw()
    whole = depth_loss(prediction, target, silog=2.0, log_l1=0.5, berhu=0.1, gradient=3.0, lam=0.85)
    parts = 2 * scale_invariant_log_loss(prediction, target, lam=0.85) + 0.5 * log_l1_loss(prediction, target)
    parts = parts + 0.1 * berhu_loss(prediction, target) + 3 * gradient_matching_loss(prediction, target)
    assert torch.allclose(whole, parts)
    assert torch.equal(depth_loss(prediction, target), scale_invariant_log_loss(prediction, target))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 4, 5), {}, r"prediction has shape \(1, 4, 4\) and target \(1, 4, 5\).*resize"),
        ((1, 4, 4), {"lam": 1.5}, "lam is 1.5"),
        ((1, 4, 4), {"silog": -1.0}, "'silog': -1.0"),
        ((1, 4, 4), {"silog": 0.0}, "one above 0"),
    ],
)
def test_refusals(shape, options, message):
    with pytest.raises(ValueError, match=message):
        depth_loss(torch.ones(1, 4, 4), torch.ones(shape), **options)


def test_scales_must_be_positive():
    with pytest.raises(ValueError, match="scales is 0"):
        gradient_matching_loss(torch.ones(1, 4, 4), torch.ones(1, 4, 4), scales=0)
