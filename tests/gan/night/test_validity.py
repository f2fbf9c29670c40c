"""Figures about labels that still hold: counts by hand, and generators whose verdict is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from visgen.errors import DataError
from visgen.gan.night import EdgeValidity, box_contrast, canny, darkened, edge_agreement


def line(*columns: int) -> Tensor:
    edges = torch.zeros(20, 100, dtype=torch.bool)
    edges[:, list(columns)] = True
    return edges


def test_lines_within_the_tolerance_meet_and_others_do_not() -> None:
    found = edge_agreement(line(10, 60), line(12, 30, 80), tolerance=0.02)  # two pixels of 100
    assert (found.right, found.drawn, found.found, found.present) == (20, 60, 20, 40)
    figures = found.figures()
    assert figures["precision"] == pytest.approx(1 / 3) and figures["recall"] == pytest.approx(1 / 2)
    assert figures["F"] == pytest.approx(0.4)
    assert edge_agreement(line(10), line(13), tolerance=0.02).figures()["F"] == 0.0


def test_nothing_drawn_invents_nothing_and_finds_nothing() -> None:
    figures = edge_agreement(line(10), torch.zeros(20, 100, dtype=torch.bool)).figures()
    assert figures == {"F": 0.0, "precision": 1.0, "recall": 0.0}
    with pytest.raises(DataError, match="two bool maps"):
        edge_agreement(line(10), line(10).float())


def picture(seed: int, size: tuple[int, int] = (72, 96)) -> Tensor:
    """Rectangles of random place and colour."""
    random = torch.Generator().manual_seed(seed)
    image = torch.full((3, *size), 0.6)
    for _ in range(8):
        y, x = (int(torch.randint(0, side - 16, (), generator=random)) for side in size)
        h, w = (int(torch.randint(8, 40, (), generator=random)) for _ in range(2))
        image[:, y : y + h, x : x + w] = torch.rand(3, 1, 1, generator=random)
    return image


def verdict(night: Callable[[Tensor], Tensor]) -> dict:
    judge = EdgeValidity()
    pictures = [picture(i) for i in range(6)]
    nights = [night(image) for image in pictures]
    for i, image in enumerate(pictures):
        judge.update(image, nights[i], nights[(i + 3) % 6])
    return judge.compute()


def test_a_night_that_only_dims_is_valid_and_lies_where_it_lay() -> None:
    found = verdict(lambda image: image**1.5 / 2)
    assert found["valid"] and found["aligned"] == 1.0 and found["below_floor"] == 0.0 and found["images"] == 6
    assert found["generator"]["F"] > 0.75 > 2 * found["floor"]["F"]


def test_another_picture_is_no_better_than_the_floor() -> None:
    others = iter(picture(100 + i) for i in range(6))
    found = verdict(lambda _: next(others))
    assert not found["valid"] and found["generator"]["F"] == pytest.approx(found["floor"]["F"], abs=0.12)


def test_a_shifted_night_is_not_valid_and_said_not_to_be_aligned() -> None:
    found = verdict(lambda image: image.roll((8, 8), (1, 2)) / 2)
    assert not found["valid"] and found["aligned"] == 0.0


def test_invented_edges_cost_precision_and_lost_ones_recall() -> None:
    def fence(image: Tensor) -> Tensor:
        night = image / 2
        night[:, :, ::8] = 1.0
        return night

    def fog(image: Tensor) -> Tensor:  # thickens slowly, so that it has no edge of its own
        thick = ((torch.arange(96.0) - 20) / 50).clamp(0, 1)
        return (1 - thick) * image / 2 + thick * 0.2

    plain, fenced, foggy = (verdict(night) for night in (lambda image: image / 2, fence, fog))
    assert fenced["generator"]["precision"] < 0.6 * plain["generator"]["precision"]
    assert foggy["generator"]["recall"] < 0.7 * plain["generator"]["recall"]
    assert foggy["generator"]["precision"] > 0.7 * plain["generator"]["precision"]


def test_the_verdict_follows_its_rule() -> None:
    found = verdict(lambda image: image / 2)
    floor, ceiling = found["floor"]["F"], found["ceiling"]["F"]
    assert found["wanted"] == pytest.approx(floor + 0.6 * (ceiling - floor))
    with pytest.raises(DataError, match="no picture was added"):
        EdgeValidity().compute()
    with pytest.raises(DataError, match="they must be equal"):
        EdgeValidity(canny).update(picture(0), picture(0)[:, 1:], picture(1))


def test_a_darkened_picture_is_the_power_plus_noise_of_the_strength_asked_for() -> None:
    image = torch.full((3, 64, 64), 0.5)
    dark = darkened(image, torch.Generator().manual_seed(0), gamma=2.0, noise=0.02)
    assert float(dark.mean()) == pytest.approx(0.25, abs=2e-3) and float(dark.std()) == pytest.approx(0.02, rel=0.05)
    assert torch.equal(darkened(image, torch.Generator(), noise=0.0) * 255, (image**2.2 * 255).round())


def test_contrast_inside_boxes_by_hand() -> None:
    image = torch.full((3, 10, 20), 0.27)
    image[:, :, 10:] = 0.57  # log(0.6) - log(0.3) = log 2
    boxes = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [30.0, 0.0, 40.0, 10.0], [3.0, 3.0, 3.0, 3.0]]
    )
    assert box_contrast(image, boxes).tolist() == pytest.approx([0.0, math.log(2) / 2, 0.0, 0.0], abs=1e-6)
    outside = torch.tensor([[-20.0, -20.0, -5.0, -5.0], [-20.0, 5.0, -5.0, 20.0], [5.0, -9.0, 15.0, -3.0]])
    assert box_contrast(image, outside).tolist() == [0.0, 0.0, 0.0]
