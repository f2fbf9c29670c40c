"""Boundary figures on maps whose answers are known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import DataError
from visgen.metrics.boundary import BoundaryMetric, thin_ridges


def line(column: int, height: int = 60, width: int = 80, value: float = 1.0) -> Tensor:
    out = torch.zeros(height, width)
    out[:, column] = value
    return out


def figures(prediction: Tensor, target: Tensor, **options: float) -> dict[str, float]:
    metric = BoundaryMetric(**options)  # type: ignore[arg-type]
    metric.update([prediction], [target])
    return metric.compute()


def test_a_line_against_itself_is_perfect() -> None:
    found = figures(line(40, value=0.9), line(40))
    assert found["ODS"] == found["OIS"] == found["precision"] == found["recall"] == 1.0


def test_a_line_within_the_tolerance_is_right_and_one_beyond_is_not() -> None:
    # 60 x 80 has a diagonal of 100: 0.02 of it are 2 pixels
    assert figures(line(42), line(40), tolerance=0.02)["ODS"] == 1.0
    assert figures(line(43), line(40), tolerance=0.02)["ODS"] == 0.0


def test_recall_counts_people_and_precision_does_not() -> None:
    # one line that everybody marked and one that a quarter marked; only the first is predicted
    target = torch.maximum(line(20), line(60, value=0.25))
    found = figures(line(20), target)
    assert found["precision"] == 1.0
    assert found["recall"] == pytest.approx(1 / 1.25)
    # only the faint one: precision is still full, recall is what the few marked
    assert figures(line(60), target)["recall"] == pytest.approx(0.25 / 1.25)


def test_the_threshold_trades_false_lines_for_true_ones() -> None:
    prediction = torch.maximum(line(20, value=0.9), line(60, value=0.3))
    found = figures(prediction, line(20))
    assert found["ODS"] == 1.0 and 0.3 < found["threshold"] <= 0.9


def test_a_single_threshold_for_all_images_is_never_better_than_one_for_each() -> None:
    metric = BoundaryMetric()
    first = torch.maximum(line(20, value=0.9), line(60, value=0.5))
    second = torch.maximum(line(20, value=0.4), line(60, value=0.1))
    metric.update([first, second], [line(20), line(20)])
    found = metric.compute()
    assert found["OIS"] == 1.0 and found["ODS"] < 1.0


def test_a_thick_band_wins_nothing() -> None:
    band = torch.zeros(60, 80)
    ramp = torch.tensor([0.3, 0.6, 0.9, 0.6, 0.3])
    band[:, 38:43] = ramp
    assert torch.equal(thin_ridges(band) > 0, line(40) > 0)
    diagonal = torch.zeros(50, 50)
    for offset, value in zip((-2, -1, 0, 1, 2), ramp, strict=True):
        diagonal += torch.diag(torch.full((50 - abs(offset),), float(value)), offset)
    crest = thin_ridges(diagonal)[5:-5, 5:-5]
    assert torch.equal(crest > 0, torch.eye(40, dtype=torch.bool))


def test_thinning_commutes_with_flips_and_turns() -> None:
    strength = torch.rand(40, 50, generator=torch.Generator().manual_seed(0))
    crest = thin_ridges(strength)
    for turned, back in (
        (strength.flip(1), lambda x: x.flip(1)),
        (strength.t(), lambda x: x.t()),
    ):
        agree = ((thin_ridges(turned) > 0) == back(crest > 0)).float().mean()
        assert agree > 0.999  # ties at the slack may fall either way in float32


def test_merging_equals_adding() -> None:
    a, b, both = BoundaryMetric(), BoundaryMetric(), BoundaryMetric()
    generator = torch.Generator().manual_seed(1)
    for metric in (a, b):
        prediction = torch.rand(30, 40, generator=generator)
        target = (torch.rand(30, 40, generator=generator) > 0.9).float()
        metric.update([prediction], [target])
        both.update([prediction], [target])
    assert a.merge(b).compute() == both.compute()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"values from 0 to 255; boundaries are shares"):
        BoundaryMetric().update([line(4)], [line(4, value=255.0)])
    with pytest.raises(DataError, match=r"is \(60, 80\) and its target \(60, 81\)"):
        BoundaryMetric().update([line(4)], [line(4, width=81)])
    with pytest.raises(DataError, match="no marked boundary"):
        figures(line(4), torch.zeros(60, 80))
    with pytest.raises(DataError, match="tolerance is 2"):
        BoundaryMetric(tolerance=2.0)


def test_false_alarms_where_nobody_marked_anything_cost_the_best_threshold_of_an_image_nothing() -> None:
    metric = BoundaryMetric()
    metric.update([line(40, value=0.9), line(20, value=0.2)], [line(40), torch.zeros(60, 80)])
    found = metric.compute()
    assert found["ODS"] == found["OIS"] == 1.0
