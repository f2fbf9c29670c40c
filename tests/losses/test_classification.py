"""Classification loss against torch, hand-worked values and laws."""

import math

import pytest
import torch
import torch.nn.functional as F

from visgen.losses import classification_loss


def draw(rows=6, classes=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, classes, generator=g), torch.randint(0, classes, (rows,), generator=g)


def test_hand_worked_two_classes():
    logits = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4
    assert math.isclose(float(classification_loss(logits, torch.tensor([0]))), -math.log(0.75), rel_tol=1e-6)
    smoothed = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))  # 0.2 spread over two classes: 0.9 and 0.1
    assert math.isclose(
        float(classification_loss(logits, torch.tensor([0]), label_smoothing=0.2)), smoothed, rel_tol=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_hard_labels_equal_torch(smoothing, weighted):
    logits, target = draw()
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.1]) if weighted else None
    ours = classification_loss(logits, target, label_smoothing=smoothing, class_weights=weights)
    theirs = F.cross_entropy(logits, target, weight=weights, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_one_hot_rows_equal_hard_labels_with_weights():
    logits, target = draw()
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0, 0.1])
    hot = F.one_hot(target, 5).float()
    for smoothing in (0.0, 0.1):
        a = classification_loss(logits, target, class_weights=weights, label_smoothing=smoothing)
        b = classification_loss(logits, hot, class_weights=weights, label_smoothing=smoothing)
        assert torch.allclose(a, b, atol=1e-6)


def test_mixup_is_the_mix_of_two_losses_and_equals_torch_on_soft_targets():
    logits, target = draw()
    other = target.flip(0)
    soft = 0.3 * F.one_hot(target, 5).float() + 0.7 * F.one_hot(other, 5).float()
    mixed = classification_loss(logits, soft)
    parts = 0.3 * classification_loss(logits, target) + 0.7 * classification_loss(logits, other)
    assert torch.allclose(mixed, parts, atol=1e-6)
    assert torch.allclose(mixed, F.cross_entropy(logits, soft), atol=1e-6)


def test_class_of_weight_zero_has_no_gradient_even_with_smoothing():
    logits, _ = draw(rows=2)
    logits.requires_grad_(True)
    weights = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    classification_loss(logits, torch.tensor([1, 0]), class_weights=weights, label_smoothing=0.1).backward()
    assert bool((logits.grad[0] == 0).all()) and bool((logits.grad[1] != 0).any())


def test_empty_batch_is_zero_with_a_gradient():
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = classification_loss(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0 and logits.grad.shape == (0, 3)


def test_autocast_changes_nothing():
    logits, target = draw()
    options = {"class_weights": torch.linspace(0.3, 1.7, logits.shape[1]), "label_smoothing": 0.1}
    with torch.autocast("cpu", torch.bfloat16):
        inside = classification_loss(logits, target, **options)
    assert inside == classification_loss(logits, target, **options)


def test_half_precision_logits_are_reduced_in_float32():
    logits, target = draw()
    assert classification_loss(logits.bfloat16(), target).dtype == torch.float32


@pytest.mark.parametrize(
    ("logits", "target", "options", "message"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2).long(), {}, r"logits have shape \(2, 3, 4\)"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), {}, r"0\.\.3 but the head has 3 classes"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), {}, r"-1\.\.0"),
        (torch.zeros(2, 3), torch.zeros(3).long(), {}, r"target has shape \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(2, 4), {}, r"soft target has shape \(2, 4\)"),
        (torch.zeros(2, 3), torch.zeros(2).long(), {"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        (torch.zeros(2, 3), torch.zeros(2).long(), {"class_weights": torch.ones(2)}, r"shape \(2,\) but there are 3"),
    ],
)
def test_refusals(logits, target, options, message):
    with pytest.raises(ValueError, match=message):
        classification_loss(logits, target, **options)
