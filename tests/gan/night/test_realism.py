"""A judge of day and night over features whose meaning is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import DataError
from visgen.gan.night import DayNight
from visgen.metrics.generative import FeatureNetwork


def look(images: Tensor) -> Tensor:
    """Mean brightness, its spread, and a feature that says nothing."""
    return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3)), torch.ones(len(images))], dim=1)


def pictures(low: int, high: int, count: int, seed: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randint(low, high, (3, 16, 20 + i % 3), generator=random).to(torch.uint8) for i in range(count)]


def judge(nights: int = 12) -> DayNight:
    made = DayNight(FeatureNetwork("brightness", look, "", 16))
    return made.fit(made.see(pictures(120, 250, 12, 0)), made.see(pictures(0, 60, nights, 1)))


def test_bright_is_day_and_dark_is_night() -> None:
    made = judge()
    day, night = (made.night(made.see(pictures(*r, 6, 2))) for r in ((130, 240), (5, 50)))
    assert float(day.max()) < 0.5 < float(night.min())


def test_more_nights_do_not_make_an_unclear_picture_a_night() -> None:
    between = pictures(95, 150, 8, 3)
    few, many = (float(m.night(m.see(between)).mean()) for m in (judge(12), judge(48)))
    assert abs(few - many) < 0.1


def test_it_must_learn_first_and_from_both() -> None:
    made = DayNight(FeatureNetwork("brightness", look, "", 16))
    with pytest.raises(DataError, match="has not learned yet"):
        made.night(torch.zeros(1, 3))
    with pytest.raises(DataError, match="got 0 and 2 pictures"):
        made.fit(torch.zeros(0, 3), torch.zeros(2, 3))
