"""Shifts that are known, generators that depend on the place, and edges hidden as faint noise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import DataError
from visgen.gan.night import disturbed, hidden_edges, phase_shift, shift_difference


def noise(seed: int, *size: int) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-7, 2), (0, 15)])
def test_a_known_shift_is_found(shift: tuple[int, int]) -> None:
    edges = (noise(0, 48, 64) > 0.9).float()
    assert phase_shift(edges, edges.roll(shift, (0, 1))) == pytest.approx(shift, abs=0.05)


def test_a_shift_is_found_under_other_edges_and_nothing_in_nothing() -> None:
    edges = (noise(0, 64, 64) > 0.93).float()
    strange = (noise(1, 64, 64) > 0.93).float()
    assert phase_shift(edges, torch.maximum(edges.roll(4, 1), strange)) == pytest.approx((0, 4), abs=0.3)
    assert phase_shift(edges, torch.ones(64, 64)) == (0.0, 0.0)
    with pytest.raises(DataError, match="of one size"):
        phase_shift(edges, edges[1:])


def test_what_each_pixel_does_alone_does_not_depend_on_the_shift() -> None:
    image = noise(2, 3, 64, 80)
    assert shift_difference(lambda x: x**2, image) == 0.0
    ramp = torch.arange(80.0) / 800

    def placed(x: Tensor) -> Tensor:  # brighter to the right: four pixels are 0.005
        return x + ramp[: x.shape[3]]

    assert shift_difference(placed, image, (4, 4)) == pytest.approx(4 / 800, rel=1e-4)
    with pytest.raises(DataError, match="leaves nothing inside"):
        shift_difference(placed, image[:, :36], (4, 4))


def test_a_disturbed_picture_is_a_little_different() -> None:
    image = torch.full((3, 32, 32), 0.4)
    worse = disturbed(image, torch.Generator().manual_seed(0))
    assert worse.shape == image.shape and 0 < float((worse - image).abs().mean()) < 0.02
    assert float((disturbed(image, torch.Generator().manual_seed(0), noise=0.1) - image).abs().mean()) > 0.03
    assert float((disturbed(image, torch.Generator(), noise=0.0, quality=95) - image).abs().max()) < 0.01


def test_edges_hidden_as_faint_steps_are_found_out_and_open_ones_are_not() -> None:
    day = torch.zeros(3, 32, 32)
    day[:, :, 16:] = 1.0

    def step(gain: float):
        return lambda x: gain * (x[:, :1] - x[:, :1].roll(1, 3)).abs() - 5

    faint = 0.2 + day / 255  # one grey level
    before, after = hidden_edges(step(10), step(10 * 255), day, faint)
    assert before < 0.01 and after > 10 * before
    before, after = hidden_edges(step(10), step(40), day, 0.1 + 0.5 * day)
    assert after < 1.3 * before + 0.01
