"""Edge and patch losses against values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from visgen.gan.night import SobelEdge, distillation_loss, edge_consistency, patch_nce


def test_nothing_is_lost_where_nothing_changed_and_a_shift_costs() -> None:
    picture = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.avg_pool2d(picture, 5, 1, 2)
    edges = SobelEdge()
    day = edges(picture)
    assert float(edge_consistency(day, edges(picture))) == 0.0
    assert float(distillation_loss(day, day, day)) == 0.0
    shifted = edges(picture.roll(3, dims=3))
    assert float(edge_consistency(day, shifted)) > 5 * float(edge_consistency(day, edges(0.8 * picture)))


def test_values_by_hand() -> None:
    day, other = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), math.log(3.0))
    assert float(edge_consistency(day, other)) == pytest.approx(0.25)  # 0.75 - 0.5
    assert float(distillation_loss(day, other, 2 * other)) == pytest.approx(3 * math.log(3.0))


def test_patches_that_say_nothing_cost_the_logarithm_of_their_number() -> None:
    same = torch.ones(2, 7, 5)
    assert float(patch_nce(same, same)) == pytest.approx(math.log(7), rel=1e-5)
    apart = torch.eye(7).expand(2, 7, 7)
    assert float(patch_nce(apart, apart)) == pytest.approx(math.log(1 + 6 * math.exp(-1 / 0.07)), abs=1e-5)


def test_no_gradient_reaches_the_original() -> None:
    query, key = torch.rand(1, 4, 3, requires_grad=True), torch.rand(1, 4, 3, requires_grad=True)
    patch_nce(query, key).backward()
    assert query.grad is not None and key.grad is None
