"""Figures under weights: hand-worked ratios, and average precision beside the metric that asks pycocotools."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import DataError
from visgen.metrics import DetectionMetric
from visgen.metrics.strata import Detections, DetectionStrata, PrecisionTable, RatioTable
from visgen.structures import Boxes


def test_a_ratio_by_hand() -> None:
    table = RatioTable(torch.tensor([[1.0, 0], [3, 0]]), torch.tensor([[2.0, 0], [4, 0]]))
    once = table(torch.tensor([[1.0, 1], [2, 0], [0, 1]], dtype=torch.float64))
    assert once[:, 0].tolist() == pytest.approx([4 / 6, 1 / 2, 3 / 4])
    assert once[:, 1].isnan().all()  # nothing of it is there
    with pytest.raises(DataError, match=r"\(2, 2\).*\(2, 1\)"):
        RatioTable(torch.zeros(2, 2), torch.zeros(2, 1))


def test_precision_by_hand() -> None:
    # Ranks: right, wrong, right of two true boxes: recall 0..0.5 at precision 1, 0.5..1 at precision 2/3.
    found = Detections(
        torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1]), torch.tensor([True, False, True]), torch.tensor([1, 1])
    )
    table = PrecisionTable([found])
    assert float(table(torch.ones(1, 2, dtype=torch.float64))) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    # The first image alone has one true box, found at the first rank.
    assert float(table(torch.tensor([[1.0, 0]], dtype=torch.float64))) == pytest.approx(1.0)
    assert table(torch.zeros(1, 2, dtype=torch.float64)).isnan().all()


def some_boxes(generator: torch.Generator, count: int, with_scores: bool) -> Boxes:
    low = torch.rand(count, 2, generator=generator) * 60
    xyxy = torch.cat([low, low + 10 + torch.rand(count, 2, generator=generator) * 30], 1)
    labels = torch.randint(3, (count,), generator=generator)
    scores = torch.rand(count, generator=generator) if with_scores else None
    return Boxes(xyxy, labels, (100, 100), ("a", "b", "c"), scores=scores)


def test_ap50_is_that_of_pycocotools() -> None:
    generator = torch.Generator().manual_seed(0)
    metric, strata = DetectionMetric(("a", "b", "c"), per_class=True), DetectionStrata(("a", "b", "c"))
    for image in range(12):
        target = some_boxes(generator, 4, False)
        crowd = torch.tensor([image % 3 == 0, False, False, False])
        target = Boxes(target.xyxy, target.labels, target.size, target.classes, is_crowd=crowd)
        near = target.xyxy + torch.randn(4, 4, generator=generator) * 3
        extra = some_boxes(generator, 5, True)
        xyxy = torch.cat([near, extra.xyxy])
        xyxy[:, 2:] = torch.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
        labels = torch.cat([target.labels, extra.labels])
        scores = torch.rand(9, generator=generator)
        answer = Boxes(xyxy, labels, target.size, target.classes, scores=scores)
        metric.update([answer], [target])
        strata.update([answer], [target], torch.tensor([0.5]))
    figures = metric.compute()
    found = strata.strata()
    ones = torch.ones(1, 12, dtype=torch.float64)
    assert float(found[0].table(ones).nanmean()) == pytest.approx(figures["AP50"], abs=1e-9)
    for s in found:
        if s.kind == "class":
            value = float(s.table(ones)[0, s.part.groups[0]])
            assert value == pytest.approx(figures[f"AP50/{s.name}"], abs=1e-9), s.name


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    found = Detections(
        torch.rand(50, generator=generator),
        torch.randint(6, (50,), generator=generator),
        torch.rand(50, generator=generator) < 0.4,
        torch.full((6,), 5),
    )
    weights = torch.randint(0, 3, (20, 6), generator=generator).double()
    whole = PrecisionTable([found])(weights)
    monkeypatch.setattr("visgen.metrics.strata.table._CELLS", 120)
    assert torch.equal(PrecisionTable([found])(weights), whole)
