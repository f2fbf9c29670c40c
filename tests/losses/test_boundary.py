"""The boundary loss against sums worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from visgen.losses.boundary import boundary_loss


def test_boundary_and_background_weigh_the_same() -> None:
    # one boundary pixel and three of background, all at probability one half
    share = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 1, 2, 2)
    loss = boundary_loss(torch.zeros(1, 1, 2, 2), share, positive_factor=1.0)
    # weights 3/4 for the one and 1/4 for each of the three: (3/4 + 3/4) log 2 over 4 pixels
    assert float(loss) == pytest.approx(1.5 * math.log(2) / 4)


def test_pixels_that_few_marked_and_padding_are_not_asked() -> None:
    share = torch.tensor([1.0, 0.1, 0.0, -1.0]).view(1, 1, 2, 2)
    logits = torch.tensor([2.0, 50.0, -2.0, 50.0]).view(1, 1, 2, 2).requires_grad_()
    loss = boundary_loss(logits, share)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.flatten()[[1, 3]].abs().max() == 0 and (logits.grad.flatten()[[0, 2]] != 0).all()
    assert loss.item() == pytest.approx((0.5 + 0.55) * math.log1p(math.exp(-2)) / 2)


def test_a_picture_without_boundaries_has_no_loss_and_no_nan() -> None:
    assert float(boundary_loss(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))) == 0.0
    assert float(boundary_loss(torch.ones(1, 1, 4, 4), torch.full((1, 1, 4, 4), -1.0))) == 0.0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"logits are \(1, 1, 4, 4\) and the shares \(1, 1, 4, 5\)"):
        boundary_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
