"""Segmentation losses against torch, naive loops and set functions computed in numpy."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.losses import dice_loss, lovasz_softmax_loss, segmentation_cross_entropy, segmentation_loss


def draw(seed=0, batch=2, classes=4, size=(5, 6), ignored=0.2):
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(0, classes, (batch, *size), generator=g)
    target[torch.rand(batch, *size, generator=g) < ignored] = 255
    return torch.randn(batch, classes, *size, generator=g), target


def naive_cross_entropy(logits, target, weights, smoothing):
    log_p = logits.double().log_softmax(1).numpy()
    y, classes = target.numpy(), logits.shape[1]
    total = mass = 0.0
    for b, i, j in np.ndindex(*y.shape):
        k = y[b, i, j]
        if k == 255 or weights[k] == 0:
            continue
        share = np.full(classes, smoothing / classes)
        share[k] += 1 - smoothing
        total -= float((share * weights * log_p[b, :, i, j]).sum())
        mass += weights[k]
    return total / mass


def naive_dice(logits, target, smooth=1.0):
    p, y = logits.double().softmax(1).numpy(), target.numpy()
    losses = []
    for k in sorted(set(y.ravel()) - {255}):
        both = total = 0.0
        for b, i, j in np.ndindex(*y.shape):
            if y[b, i, j] != 255:
                both += p[b, k, i, j] * (y[b, i, j] == k)
                total += p[b, k, i, j] + (y[b, i, j] == k)
        losses.append(1 - (2 * both + smooth) / (total + smooth))
    return float(np.mean(losses))


def naive_lovasz(logits, target):
    """The Lovasz extension from its definition: sum of error_i times the rise of the set function 1 - IoU."""
    p, y = logits.double().softmax(1).permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).numpy(), target.numpy().ravel()
    p, y = p[y != 255], y[y != 255]
    losses = []
    for k in sorted(set(y)):
        truth = set(np.flatnonzero(y == k))
        error = np.where(y == k, 1 - p[:, k], p[:, k])
        wrong, before, value = set(), 0.0, 0.0
        for i in np.argsort(-error, kind="stable"):
            wrong.add(i)
            now = 1 - len(truth - wrong) / len(truth | wrong)  # misses shrink the overlap, intruders grow the union
            value += error[i] * (now - before)
            before = now
        losses.append(value)
    return float(np.mean(losses))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0, 1.0], [0.2, 3.0, 0.0, 1.0]])
def test_cross_entropy_equals_a_naive_loop(smoothing, weights):
    logits, target = draw()
    ours = segmentation_cross_entropy(logits, target, class_weights=torch.tensor(weights), label_smoothing=smoothing)
    assert math.isclose(float(ours), naive_cross_entropy(logits, target, np.array(weights), smoothing), rel_tol=1e-5)


def test_unweighted_cross_entropy_equals_torch():
    logits, target = draw(3)
    assert torch.allclose(segmentation_cross_entropy(logits, target), F.cross_entropy(logits, target, ignore_index=255))


@pytest.mark.parametrize("seed", range(4))
def test_dice_and_lovasz_equal_naive_loops(seed):
    logits, target = draw(seed)
    assert math.isclose(float(dice_loss(logits, target)), naive_dice(logits, target), rel_tol=1e-5)
    assert math.isclose(float(lovasz_softmax_loss(logits, target)), naive_lovasz(logits, target), rel_tol=1e-5)


def test_autocast_changes_nothing():
    logits, target = draw(1)
    for loss in (segmentation_cross_entropy, dice_loss, lovasz_softmax_loss):
        with torch.autocast("cpu", torch.bfloat16):
            inside = loss(logits, target)
        assert inside == loss(logits, target), loss


def test_lovasz_at_hard_decisions_is_one_minus_mean_iou():
    target = torch.tensor([[[0, 0, 1], [1, 1, 255]]])
    decided = torch.tensor([[[0, 1, 1], [1, 0, 0]]])
    logits = F.one_hot(decided, 2).permute(0, 3, 1, 2) * 200.0
    # class 0: 1 right, union 3 (the ignored pixel does not count); class 1: 2 right, union 4
    assert math.isclose(float(lovasz_softmax_loss(logits, target)), 1 - (1 / 3 + 2 / 4) / 2, rel_tol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_laws(seed):
    logits, target = draw(seed, size=(4, 5))
    for loss in (segmentation_cross_entropy, dice_loss, lovasz_softmax_loss):
        value = loss(logits, target)
        assert torch.allclose(value, loss(logits.flip(3), target.flip(2)), atol=1e-6)  # a flip commutes
        hidden = logits.clone()
        hidden[(target == 255)[:, None].expand_as(logits)] = 50.0
        assert torch.allclose(value, loss(hidden, target), atol=1e-6)  # ignored pixels do not matter
        order = torch.tensor([2, 0, 3, 1])
        renamed = torch.where(target == 255, target, torch.argsort(order)[target.clamp_max(3)])
        assert torch.allclose(value, loss(logits[:, order], renamed), atol=1e-6)  # names of classes do not matter
    assert 0 <= float(lovasz_softmax_loss(logits, target)) <= 1 and 0 <= float(dice_loss(logits, target)) <= 1


def test_sum_of_terms():
    logits, target = draw()
    whole = segmentation_loss(logits, target, dice=0.5, lovasz=2.0)
    parts = segmentation_cross_entropy(logits, target) + 0.5 * dice_loss(logits, target)
    assert torch.allclose(whole, parts + 2.0 * lovasz_softmax_loss(logits, target))
    assert torch.equal(segmentation_loss(logits, target), segmentation_cross_entropy(logits, target))


def test_region_stride_thins_only_the_overlap_terms():
    logits, target = draw(size=(7, 9))
    whole = segmentation_loss(logits, target, dice=0.5, lovasz=2.0, region_stride=2)
    few, labels = logits[..., 1::2, 1::2], target[:, 1::2, 1::2]
    terms = 0.5 * dice_loss(few, labels) + 2.0 * lovasz_softmax_loss(few, labels)
    assert torch.allclose(whole, segmentation_cross_entropy(logits, target) + terms)
    with pytest.raises(ValueError, match="region_stride is 0; it must be >= 1"):
        segmentation_loss(logits, target, dice=1.0, region_stride=0)


def test_each_term_learns_a_map():
    for weights in ({"dice": 0.0}, {"dice": 3.0}, {"lovasz": 3.0}):
        logits, target = draw(7, size=(8, 8))
        logits.requires_grad_(True)
        for _ in range(30):
            (gradient,) = torch.autograd.grad(segmentation_loss(logits, target, **weights), logits)
            logits = (logits - 50 * gradient).detach().requires_grad_(True)
        right = (logits.argmax(1) == target)[target != 255]
        assert bool(right.all()), weights


@pytest.mark.parametrize("weights", [None, torch.tensor([0.0, 1.0, 1.0, 1.0])])
def test_nothing_labelled_is_zero_with_a_gradient(weights):
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    target = torch.full((1, 3, 3), 255)
    if weights is not None:
        target[0, 0, 0] = 0  # labelled, but weighs nothing
        loss = segmentation_cross_entropy(logits, target, class_weights=weights, label_smoothing=0.1)
    else:
        loss = segmentation_loss(logits, target, dice=1.0, lovasz=1.0)
    loss.backward()
    assert loss.item() == 0.0 and bool((logits.grad == 0).all())


@pytest.mark.parametrize(
    ("logits", "target", "options", "message"),
    [
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 2).long(), {}, r"\(1, 3, 4, 4\) and target \(1, 2, 2\).*resize"),
        (torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 3), {}, r"3\.\.3 but the head has 3 classes.*or 255"),
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2).long(), {"dice": -1.0}, "dice -1.0"),
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2).long(), {"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 2).long(), {"class_weights": torch.ones(4)}, r"shape \(4,\) but"),
    ],
)
def test_refusals(logits, target, options, message):
    with pytest.raises(ValueError, match=message):
        segmentation_loss(logits, target, **options)


def test_dice_smooth_must_be_positive():
    with pytest.raises(ValueError, match="smooth is 0"):
        dice_loss(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2).long(), smooth=0)
