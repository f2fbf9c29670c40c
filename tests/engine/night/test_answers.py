"""Agreement with what the days of a place say together, by hand."""

from __future__ import annotations

import pytest
import torch

from visgen.engine.night import agreement, brighten, settled_map
from visgen.errors import DataError

DAYS = torch.tensor([[[1, 1, 2, 0]], [[1, 1, 2, 1]], [[1, 2, 2, 2]], [[1, 1, 2, 3]]])


def test_pixels_are_settled_where_three_of_four_agree() -> None:
    common, sure = settled_map(DAYS)
    assert common[0, :3].tolist() == [1, 1, 2] and sure[0].tolist() == [True, True, True, False]
    assert settled_map(DAYS, 1.0)[1][0].tolist() == [True, False, True, False]


def test_a_night_is_compared_on_settled_pixels() -> None:
    night = torch.tensor([[[1, 0, 2, 0]], [[1, 1, 2, 0]]])
    found = agreement(DAYS, [7, 7, 7, 3], night, [7, 3])
    assert found.pixels == pytest.approx((2 / 3 + 1) / 2)
    assert found.labels == 0.5 and found.settled == 0.75


def test_a_day_does_not_count_for_itself() -> None:
    found = agreement(DAYS[:2], [1, 2], DAYS[:2], [1, 2], [0, 1])
    assert found.labels == 0  # each is compared with the other alone
    assert found.pixels == pytest.approx(3 / 4) and found.settled == 1


def test_lengths_and_shares_are_checked() -> None:
    with pytest.raises(DataError, match="agreement got 1 days"):
        agreement(DAYS[:1], [1], DAYS, [1] * 4)
    with pytest.raises(DataError, match=r"least 0.5"):
        settled_map(DAYS, 0.5)


def test_a_dark_picture_is_raised_and_a_bright_one_stays() -> None:
    dark = torch.full((3, 4, 4), 0.25)
    assert float(brighten(dark).mean()) == pytest.approx(0.45, abs=1e-5)
    assert torch.equal(brighten(torch.full((3, 4, 4), 0.8)), torch.full((3, 4, 4), 0.8))
    assert float(brighten(torch.full((3, 4, 4), 1e-6)).max()) == pytest.approx((1e-6) ** 0.25, rel=1e-4)
