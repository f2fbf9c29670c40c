"""Verdicts of strata whose answer is known, and intervals that behave."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import DataError
from visgen.metrics.strata import Part, RatioTable, Stratum, compare_strata, draw_weights, stratum_values


def strata_of(right: list[list[float]], total: list[list[float]], **changes) -> list[Stratum]:
    """One stratum for each column, beside the other columns."""
    table = RatioTable(torch.tensor(right), torch.tensor(total))
    columns = range(table.groups)
    found = []
    for g in columns:
        images = int((table.total[:, g] > 0).sum())
        others = Part(tuple(o for o in columns if o != g))
        values = {"count": images, "unit": "images", "images": images, **changes}
        found.append(Stratum("class", f"c{g}", "recall", table, Part((g,)), others, **values))
    return found


def test_a_weak_class_is_told_from_a_fine_and_from_a_rare_one() -> None:
    # Class 0 is right in 30 of 30 images, class 1 in 3 of 30, class 2 in 0 of 3.
    right = [[1.0, 0, 0]] * 30 + [[0, float(i < 3), 0] for i in range(30)] + [[0, 0, 0.0]] * 3
    total = [[1.0, 0, 0]] * 30 + [[0, 1.0, 0]] * 30 + [[0, 0, 1.0]] * 3
    gaps = {g.name: g for g in compare_strata(strata_of(right, total), torch.Generator().manual_seed(0))}
    assert {name: g.verdict for name, g in gaps.items()} == {"c0": "fine", "c1": "weak", "c2": "few"}
    weak = gaps["c1"]
    assert weak.value == pytest.approx(0.1) and weak.rest == pytest.approx(0.5)  # the mean of 1 and 0
    assert weak.difference == pytest.approx(-0.4) and weak.shortfall == pytest.approx(0.4)
    assert weak.low < weak.difference < weak.high < 0
    assert [g.name for g in gaps.values()] == ["c1", "c2", "c0"]  # weak first, then what cannot be told


def test_of_an_error_more_is_worse() -> None:
    error = [[0.1, 0.4] if i % 2 else [0.12, 0.38] for i in range(20)]
    total = [[1.0, 1.0]] * 20
    gaps = {g.name: g for g in compare_strata(strata_of(error, total, higher_is_better=False), torch.Generator())}
    assert gaps["c1"].verdict == "weak" and gaps["c1"].shortfall == pytest.approx(0.28)
    assert gaps["c0"].verdict == "fine"


def test_an_interval_over_zero_is_unsure() -> None:
    right = [[float(i % 2), 0] for i in range(12)] + [[0, float(i % 3 > 0)] for i in range(12)]
    total = [[1.0, 0]] * 12 + [[0, 1.0]] * 12
    first = compare_strata(strata_of(right, total), torch.Generator().manual_seed(0))[0]
    assert (first.name, first.verdict) == ("c0", "unsure")  # 1/2 beside 2/3 over a dozen images each
    assert first.low < 0 < first.high


def test_equal_models_give_about_the_false_alarms_that_are_told() -> None:
    """Of strata without any difference, about (1 - level) / 2 look weak when the least difference is 0."""
    generator = torch.Generator().manual_seed(0)
    right = (torch.rand(200, 60, generator=generator) < 0.5).double()
    gaps = compare_strata(strata_of(right.tolist(), [[1.0] * 60] * 200), generator, draws=300, least=1e-9)
    weak = sum(g.verdict == "weak" for g in gaps)
    assert weak <= 5  # 1.5 expected


def test_the_interval_has_the_width_of_the_binomial() -> None:
    """Halves against a fixed rest: the standard error of a share over 400 images is 0.025."""
    right = [[float(i % 2), 1.0] for i in range(400)]
    gap = next(g for g in compare_strata(strata_of(right, [[1.0, 1.0]] * 400), torch.Generator()) if g.name == "c0")
    assert gap.high - gap.low == pytest.approx(2 * 1.96 * 0.025, rel=0.1)


def test_images_choose_the_part() -> None:
    table = RatioTable(torch.tensor([[1.0], [0], [0]]), torch.ones(3, 1))
    dark = torch.tensor([True, True, False])
    s = Stratum("light", "dark", "top1", table, Part((0,), dark), Part((0,), ~dark), 2, "images", 2)
    ones = torch.ones(1, 3, dtype=torch.float64)
    assert stratum_values([s], ones)["light/dark"].tolist() == [0.5]
    only = compare_strata([s], torch.Generator(), min_images=1)[0]
    assert (only.value, only.rest) == (0.5, 0.0)


def test_light_is_compared_over_the_classes_that_both_sides_show() -> None:
    # Class 1 is in dark pictures alone: its 0 says nothing about light.
    total = torch.tensor([[1.0, 1], [1, 1], [1, 0], [1, 0]])
    table = RatioTable(torch.tensor([[1.0, 0], [0, 0], [1, 0], [1, 0]]), total)
    dark = torch.tensor([True, True, False, False])
    s = Stratum("light", "dark", "recall", table, Part((0, 1), dark), Part((0, 1), ~dark), 2, "images", 2)
    only = compare_strata([s], torch.Generator().manual_seed(0), min_images=1)[0]
    assert (only.value, only.rest) == (0.5, 1.0)


def test_weights_count_images() -> None:
    weights = draw_weights(7, 50, torch.Generator().manual_seed(0))
    assert weights.shape == (50, 7) and (weights.sum(1) == 7).all()
    assert weights.mean(0).sub(1).abs().max() < 0.5
    with pytest.raises(DataError, match="images are 0"):
        draw_weights(0, 1, torch.Generator())
    with pytest.raises(DataError, match="0 strata at level"):
        compare_strata([], torch.Generator())
    with pytest.raises(DataError, match=r"level 1\.5"):
        compare_strata(strata_of([[1.0, 1]], [[1.0, 1]]), torch.Generator(), level=1.5)
