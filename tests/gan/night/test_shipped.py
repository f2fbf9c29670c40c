"""The shipped generator on streets that it never saw: nothing moves, nothing hides, nothing jumps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.data import build_source
from visgen.errors import CheckpointError
from visgen.gan.night import (
    NIGHT_MODEL,
    EdgeValidity,
    NightGenerator,
    SobelEdge,
    hidden_edges,
    load_night,
    shift_difference,
)

SIZE = (96, 128)


@pytest.fixture(scope="module")
def generator() -> NightGenerator:
    try:
        return load_night(NIGHT_MODEL)
    except CheckpointError:
        pytest.skip(f"{NIGHT_MODEL} does not ship with this checkout")


def streets(count: int) -> list[Tensor]:
    source = build_source(f"town:night_town?time=day&count={count}&size={SIZE[0]}x{SIZE[1]}", "val", tasks="detection")
    return [source[i].image for i in range(count)]


@pytest.mark.parametrize("count", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_edges_lie_where_they_lay(generator: NightGenerator, count: int) -> None:
    days = streets(count)
    nights = [generator(day[None])[0] for day in days]
    judge = EdgeValidity()
    for i, day in enumerate(days):
        judge.update(day, nights[i], nights[(i + count // 2) % count])
    found = judge.compute()
    assert found["aligned"] == 1.0
    assert found["generator"]["precision"] > found["floor"]["precision"]
    assert found["generator"]["recall"] > found["floor"]["recall"]


def test_nights_are_darker_and_of_any_size(generator: NightGenerator) -> None:
    days = streets(6)
    assert all(float(generator(day[None]).mean()) < 0.8 * float(day.mean()) for day in days)
    odd = days[0][None, :, :61, :83]
    assert generator(odd).shape == odd.shape


def test_no_edges_are_hidden_as_faint_noise(generator: NightGenerator) -> None:
    sobel, losses = SobelEdge(), []
    for i, day in enumerate(streets(8)):
        losses.append(hidden_edges(sobel, sobel, day, generator(day[None])[0], seed=i))
    before, after = (sum(side) for side in zip(*losses, strict=True))
    assert after < 1.3 * before


@pytest.mark.parametrize("shift", [(4, 4), (1, 3)])
def test_a_shifted_picture_has_the_shifted_night(generator: NightGenerator, shift: tuple[int, int]) -> None:
    assert max(shift_difference(generator, day, shift) for day in streets(4)) < 0.05


def test_a_picture_gives_the_same_night_each_time(generator: NightGenerator) -> None:
    day = streets(1)[0][None]
    assert torch.equal(generator(day), generator(day))
