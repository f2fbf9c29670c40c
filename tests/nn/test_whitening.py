"""Learned whitening: white differences of pairs, then axes in the order of spread."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import DataError
from visgen.nn.whitening import learn_lw_whitening


def pairs(count: int = 400, width: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(count, width, generator=generator, dtype=torch.float64) + 2
    mix = torch.randn(width, width, generator=generator, dtype=torch.float64)
    noise = [torch.randn(count, width, generator=generator, dtype=torch.float64) @ mix for _ in range(2)]
    return places + 0.3 * noise[0], places + 0.3 * noise[1]


def test_differences_become_white_and_axes_come_in_order() -> None:
    a, b = pairs()
    mean, projection = learn_lw_whitening(a, b, ridge=0.0)
    apart = (a - b) @ projection.T
    torch.testing.assert_close(apart.T @ apart / len(a), torch.eye(6, dtype=torch.float64), atol=1e-8, rtol=0)
    spread = (torch.cat([a, b]) - mean) @ projection.T
    covariance = spread.T @ spread
    off = covariance - covariance.diagonal().diag()
    assert float(off.abs().max()) < 1e-6 * float(covariance.diagonal().max())
    assert (covariance.diagonal().diff() <= 1e-6).all()
    torch.testing.assert_close(mean, a.mean(0))


def test_it_keeps_the_first_axes() -> None:
    a, b = pairs()
    _, whole = learn_lw_whitening(a, b)
    _, part = learn_lw_whitening(a, b, dim=2)
    torch.testing.assert_close(part, whole[:2])


def test_it_helps_where_one_direction_is_noise() -> None:
    """Places differ along x, pictures of one place along y, ten times as far."""
    generator = torch.Generator().manual_seed(1)
    places = torch.arange(20.0)[:, None] * torch.tensor([1.0, 0.0])
    a, b = (places + 10 * torch.randn(20, 2, generator=generator) * torch.tensor([0.02, 1.0]) for _ in range(2))
    mean, projection = learn_lw_whitening(a, b, dim=1)
    nearest = torch.cdist((a - mean) @ projection.T, (b - mean) @ projection.T).argmin(1)
    plain = torch.cdist(a, b).argmin(1)
    right = torch.arange(20)
    assert (nearest == right).float().mean() > 0.9 > (plain == right).float().mean()


def test_fewer_pairs_than_dimensions_are_enough() -> None:
    a, b = pairs(4, 8)
    _, projection = learn_lw_whitening(a.float(), b.float())
    assert projection.dtype == torch.float32 and projection.isfinite().all()


@pytest.mark.parametrize(
    ("a", "b", "dim", "message"),
    [
        (torch.zeros(1, 2), torch.zeros(1, 2), None, r"N >= 2"),
        (torch.zeros(3, 2), torch.zeros(3, 3), None, r"\(3, 2\) and positives \(3, 3\)"),
        (torch.ones(3, 2), torch.ones(3, 2), None, "all 3 pairs"),
        (torch.rand(3, 2), torch.rand(3, 2), 3, "keep 3 of 2"),
    ],
)
def test_what_does_not_fit_is_refused(a: torch.Tensor, b: torch.Tensor, dim: int | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        learn_lw_whitening(a, b, dim)
