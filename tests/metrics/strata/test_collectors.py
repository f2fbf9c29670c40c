"""The strata of each task on hand-made answers, their whole beside the metric of the task."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import DataError
from visgen.metrics import ClassificationMetric, DepthMetric, DetectionMetric, SceneGraphMetric, SegmentationMetric
from visgen.metrics.strata import (
    ClassificationStrata,
    DepthStrata,
    DetectionStrata,
    SceneGraphStrata,
    SegmentationStrata,
    StrataCollector,
    Stratum,
)
from visgen.structures import Boxes, Classification, ClassLabel, DepthMap, SceneGraph, SemanticMap


def value(s: Stratum, part: str = "part") -> float:
    chosen = getattr(s, part)
    weights = torch.ones(1, s.table.images, dtype=torch.float64)
    weights = weights if chosen.images is None else weights * chosen.images
    return float(s.table(weights)[:, list(chosen.groups)].nanmean())


def by_key(collector: StrataCollector) -> dict[str, Stratum]:
    return {s.key: s for s in collector.strata()}


def test_classes_and_light_of_labels() -> None:
    names = ("cat", "dog", "owl")
    collector, metric = ClassificationStrata(names), ClassificationMetric(names, per_class=True)
    light = torch.tensor([0.1, 0.1, 0.5, 0.7])
    for i, (true, said) in enumerate([(0, 0), (0, 1), (1, 1), (1, 1)]):
        probabilities = torch.eye(3)[said]
        answer, target = Classification(probabilities, names), ClassLabel(true, names)
        collector.update([answer], [target], light[i : i + 1])
        metric.update([answer], [target])
    found = by_key(collector)
    figures = metric.compute()
    assert value(found["all/all"]) == pytest.approx(figures["top1"]) == 0.75
    assert value(found["class/cat"]) == figures["accuracy/cat"] == 0.5
    assert value(found["class/cat"], "rest") == 1.0
    assert "class/owl" not in found  # it is not in the data
    assert (value(found["light/dark"]), value(found["light/dark"], "rest")) == (0.5, 1.0)
    assert found["light/dark"].count == 2 and found["light/bright"].count == 1
    assert isinstance(collector, StrataCollector)


def test_classes_sizes_and_light_of_maps() -> None:
    names = ("sky", "road", "pole")
    collector, metric = SegmentationStrata(names), SegmentationMetric(names)
    true = torch.zeros(20, 20, dtype=torch.int64)
    true[10:] = 1
    true[0, 0] = 2  # 1 of 400 pixels: small
    true[19, 19] = 255
    wrong = true.clone()
    wrong[0, 0] = 0
    for ids, light in ((true, 0.5), (wrong, 0.1)):
        answer, target = SemanticMap(ids, names), SemanticMap(true, names)
        collector.update([answer], [target], torch.tensor([light]))
        metric.update([answer], [target])
    found = by_key(collector)
    figures = metric.compute()
    assert value(found["all/all"]) == pytest.approx(figures["mIoU"])
    for name in names:
        assert value(found[f"class/{name}"]) == pytest.approx(figures[f"IoU/{name}"])
    assert value(found["class/pole"]) == 0.5 and found["class/pole"].images == 2
    assert (value(found["size/small"]), value(found["size/small"], "rest")) == (0.5, 1.0)
    assert found["size/small"].count == 2 and found["size/large"].count == 4 and "size/medium" not in found
    assert value(found["light/dark"]) == pytest.approx((199 / 200 + 1 + 0) / 3)


def test_sizes_and_classes_of_boxes() -> None:
    names = ("car", "dog")
    boxes = torch.tensor([[0.0, 0, 2, 2], [10, 10, 60, 60], [60, 60, 70, 70]])
    target = Boxes(boxes, torch.tensor([0, 0, 1]), (100, 100), names)
    answer = Boxes(boxes[1:], torch.tensor([0, 1]), (100, 100), names, scores=torch.tensor([0.9, 0.8]))
    collector = DetectionStrata(names)
    collector.update([answer], [target], torch.tensor([0.5]))
    found = by_key(collector)
    assert found["all/all"].metric == "AP50"
    assert value(found["class/car"]) == pytest.approx(51 / 101)  # one of two cars, first
    assert value(found["class/dog"]) == 1.0
    assert (value(found["size/small"]), value(found["size/small"], "rest")) == (0.0, 1.0)
    assert {k: found[f"size/{k}"].count for k in ("small", "medium", "large")} == {"small": 1, "medium": 1, "large": 1}
    partly = DetectionStrata(names)
    open_ended = Boxes(boxes, torch.tensor([0, 0, 1]), (100, 100), names, complete=("car",))
    partly.update([answer], [open_ended], torch.tensor([0.5]))
    whole = partly.strata()[0]
    assert whole.metric == "recall50" and value(whole) == 0.75  # a surplus box may be right


@pytest.mark.parametrize(("true", "found"), [(10, 7), (20, 19), (50, 47), (10, 6)])
def test_precision_of_boxes_is_that_of_coco_at_recalls_of_its_grid(true: int, found: int) -> None:
    corners = 20.0 * torch.arange(true)[:, None] + torch.zeros(true, 2)
    xyxy, labels, size = torch.cat([corners, corners + 10], 1), torch.zeros(true, dtype=torch.int64), (1000, 1000)
    target = Boxes(xyxy, labels, size, ("car",))
    answer = Boxes(xyxy[:found], labels[:found], size, ("car",), scores=torch.linspace(0.9, 0.5, found))
    collector, metric = DetectionStrata(("car",)), DetectionMetric(("car",))
    collector.update([answer], [target], torch.tensor([0.5]))
    metric.update([answer], [target])
    assert value(by_key(collector)["all/all"]) == pytest.approx(metric.compute()["AP50"], abs=1e-9)


def test_ranges_of_depth() -> None:
    true = torch.tensor([[1.0, 3.0, 0.0, 50.0]])
    answer = torch.tensor([[1.1, 3.0, 9.0, 75.0]])
    collector, metric = DepthStrata(), DepthMetric()
    for light in (0.5, 0.1):
        collector.update([DepthMap(answer)], [DepthMap(true)], torch.tensor([light]))
        metric.update([DepthMap(answer)], [DepthMap(true)])
    collector.update([DepthMap(answer)], [DepthMap(true * 0)], torch.tensor([0.9]))  # nothing measured
    found = by_key(collector)
    assert value(found["all/all"]) == pytest.approx(metric.compute()["AbsRel"])
    assert value(found["depth/0 to 2 m"]) == pytest.approx(0.1, abs=1e-6)
    assert value(found["depth/from 40 m"]) == pytest.approx(0.5)
    assert value(found["depth/from 40 m"], "rest") == pytest.approx(0.05, abs=1e-6)
    assert found["depth/from 40 m"].count == 2 and not found["depth/from 40 m"].higher_is_better
    assert "light/bright" not in found


def test_compositions_by_training_count() -> None:
    classes, predicates = ("cup", "table", "dog"), ("on", "near")
    xyxy = torch.tensor([[0.0, 0, 10, 10], [20, 0, 40, 20], [50, 0, 70, 20]])
    boxes = Boxes(xyxy, torch.tensor([0, 1, 2]), (100, 100), classes)
    target = SceneGraph(boxes, torch.tensor([[0, 1, 0], [2, 1, 0], [2, 0, 1]]), predicates)
    counts = {("cup", "on", "table"): 50, ("dog", "near", "cup"): 2}
    scored = Boxes(xyxy, boxes.labels, boxes.size, classes)
    answer = SceneGraph(
        scored, torch.tensor([[0, 1, 0], [2, 0, 0], [2, 1, 1]]), predicates, scores=torch.tensor([0.9, 0.8, 0.7])
    )
    collector = SceneGraphStrata(classes, predicates, counts=counts, k=20)
    metric = SceneGraphMetric(classes, predicates, counts=counts, top=(20,), aggregate="relations")
    collector.update([answer], [target], torch.tensor([0.5]))
    metric.update([answer], [target])
    found = by_key(collector)
    figures = metric.compute()
    assert value(found["all/all"]) == pytest.approx(figures["R@20"]) == pytest.approx(1 / 3)
    assert value(found["composition/zero-shot"]) == figures["zsR@20"] == 0.0
    assert found["composition/zero-shot"].members == ("dog/on/table",)
    assert value(found["composition/rare"]) == figures["10shotR@20"] == 0.0
    assert value(found["composition/common"]) == 1.0
    assert value(found["composition/zero-shot"], "rest") == 0.5
    assert (value(found["predicate/on"]), value(found["predicate/near"])) == (0.5, 0.0)


@pytest.mark.parametrize(
    "collector",
    [
        ClassificationStrata("ab"),
        SegmentationStrata("ab"),
        DetectionStrata("ab"),
        DepthStrata(),
        SceneGraphStrata("ab", "p"),
    ],
    ids=lambda c: type(c).__name__,
)
def test_nothing_added_is_an_error(collector: StrataCollector) -> None:
    with pytest.raises(DataError, match="no image was added"):
        collector.strata()
