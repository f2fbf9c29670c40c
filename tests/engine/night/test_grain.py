"""Noise is measured as it was drawn, whatever lies below it, and given to others."""

from __future__ import annotations

import pytest
import torch

from visgen.engine.night import add_grain, estimate_noise


def noisy(sigma: float, ground: torch.Tensor, seed: int = 0) -> torch.Tensor:
    noise = torch.randn(2, 3, *ground.shape[-2:], generator=torch.Generator().manual_seed(seed))
    return (ground + sigma * noise).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("sigma", [4.0, 12.0])
def test_drawn_noise_is_found_again_under_slopes_and_edges(sigma: float) -> None:
    slope = 60 + torch.arange(96.0) / 2
    edge = torch.where(torch.arange(64)[:, None] > 30, 60.0, 0.0)
    found = estimate_noise(noisy(sigma, slope + edge))
    assert found.shape == (2, 3)
    assert found.tolist() == [[pytest.approx(sigma, rel=0.08)] * 3] * 2


def test_a_picture_without_noise_has_none() -> None:
    assert estimate_noise(torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)).tolist() == [[0.0, 0.0, 0.0]]


def test_a_picture_gets_the_noise_of_another() -> None:
    ground = torch.full((64, 96), 120.0)
    others = torch.cat([noisy(5, ground, 1)[:1], noisy(15, ground, 2)[:1]])
    clean = noisy(0, ground).repeat(2, 1, 1, 1)[:3]
    found = estimate_noise(add_grain(clean, others))
    assert found.mean(1).tolist() == [pytest.approx(5, rel=0.1), pytest.approx(15, rel=0.1), pytest.approx(5, rel=0.1)]
    assert torch.equal(add_grain(clean, others), add_grain(clean, others))
    half = estimate_noise(add_grain(noisy(9, ground, 3), others[1:]))
    assert float(half.mean()) == pytest.approx((15**2 + 9**2) ** 0.5, rel=0.08)
