"""A gain may be claimed only when it is sure, beats the best rival, and loses nothing elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import DataError
from visgen.metrics import arm_claim, arm_mean, image_ious


def values(mean: float, seed: int = 0, spread: float = 0.02) -> Tensor:
    """(3 seeds, 40 images, 2 groups) around a mean; one picture does not count for the second group."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 40, 1, generator=generator) * 0.05
    found = mean + image + spread * torch.randn(3, 40, 2, generator=generator)
    found = found - found.mean() + mean
    found[:, 3, 1] = torch.nan
    return found


def claim(night: dict[str, float], day: dict[str, float], **options: float) -> dict:
    return arm_claim(
        {k: values(v, i) for i, (k, v) in enumerate(night.items())},
        {k: values(v, i, 0.001) for i, (k, v) in enumerate(day.items())},
        torch.Generator().manual_seed(0),
        arm="A5",
        base="A1",
        rivals=("A1", "A2"),
        oracle="A9",
        draws=300,
        **options,
    )


DAY = {"A1": 0.8, "A2": 0.8, "A5": 0.8, "A9": 0.8}


def test_a_clear_gain_is_allowed_and_the_gap_is_measured() -> None:
    found = claim({"A1": 0.3, "A2": 0.4, "A5": 0.5, "A9": 0.7}, DAY)
    assert found["allowed"] and found["best_rival"] == "A2"
    assert found["over_best_rival"]["difference"] == pytest.approx(0.1, abs=0.01)
    assert found["gap_closed"] == pytest.approx(0.5, abs=0.03) and found["gap"] == pytest.approx(0.4, abs=0.01)


def test_being_above_the_base_alone_is_not_enough() -> None:
    found = claim({"A1": 0.3, "A2": 0.5, "A5": 0.5, "A9": 0.7}, DAY)
    assert (not found["allowed"] and "surely above A2" in found["why"]) or "below A2" in found["why"]
    assert found["over_base"]["low"] > 0


def test_a_loss_by_day_forbids_it() -> None:
    found = claim({"A1": 0.3, "A2": 0.4, "A5": 0.5, "A9": 0.7}, {**DAY, "A5": 0.78})
    assert not found["allowed"] and "loses 0.0" in found["why"]
    assert claim({"A1": 0.3, "A2": 0.4, "A5": 0.5, "A9": 0.7}, {**DAY, "A5": 0.78}, most_lost=0.05)["allowed"]


def test_without_a_gap_nothing_is_closed() -> None:
    assert "gap_closed" not in claim({"A1": 0.3, "A2": 0.4, "A5": 0.5, "A9": 0.2}, DAY)


def test_missing_arms_are_named() -> None:
    with pytest.raises(DataError, match="arm 'A2' has no values; there are A1, A5"):
        arm_claim(
            {"A1": values(0), "A5": values(0)},
            {"A1": values(0), "A5": values(0)},
            torch.Generator(),
            arm="A5",
            base="A1",
            rivals=("A2",),
        )
    with pytest.raises(DataError, match=r"rivals of 'A5' are \['A5'\]"):
        arm_claim({"A5": values(0)}, {"A5": values(0)}, torch.Generator(), arm="A5", base="A5", rivals=("A5",))


def test_the_figure_of_an_arm_is_the_mean_over_groups_of_means_over_images() -> None:
    given = torch.tensor([[[1.0, 0.0], [0.0, torch.nan]], [[0.0, 0.0], [0.0, torch.nan]]])
    assert arm_mean(given) == pytest.approx((0.25 + 0.0) / 2)


def test_iou_of_one_picture_by_hand() -> None:
    true = torch.tensor([[0, 0, 1, 255]])
    found = image_ious(torch.tensor([[0, 1, 1, 1]]), true, 3)
    assert found[:2].tolist() == [0.5, 0.5] and bool(found[2].isnan())
