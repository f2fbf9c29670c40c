"""Answers per class against hand-worked cases, and the flattering evaluations of InstructCV's scripts beside them.

Each flattering variant is written out here as the released evaluators have it (only present classes, per-image means,
matched boxes only, near ties right, pixels with odd metres only), and must be fooled by a case that the metric sees
through.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pytest import approx

from visgen.errors import DataError
from visgen.metrics import (
    ChoiceMetric,
    DepthMetric,
    DetectionMetric,
    QueryDetectionMetric,
    QuerySegmentationMetric,
)
from visgen.structures import IGNORE, Boxes, Classification, DepthMap, SemanticMap, pairwise_iou

NAMES = ("dog", "cat", "car")


def truth(rows: list[list[int]]) -> SemanticMap:
    return SemanticMap(torch.tensor(rows), NAMES)


def answer(rows: list[list[int]], name: str) -> SemanticMap:
    return SemanticMap(torch.where(torch.tensor(rows) > 0, 0, IGNORE), (name,))


FIRST = truth([[0, 0, 1, 1], [0, 0, 1, IGNORE]])
SECOND = truth([[1, 1, 1, 1], [1, 1, 1, 1]])


def segmentation(*rows: tuple[SemanticMap, SemanticMap, str]) -> QuerySegmentationMetric:
    metric = QuerySegmentationMetric(NAMES)
    for prediction, target, name in rows:
        metric.update([prediction], [target], [name])
    return metric


PERFECT = (
    (answer([[1, 1, 0, 0], [1, 1, 0, 0]], "dog"), FIRST, "dog"),
    (answer([[0, 0, 1, 1], [0, 0, 1, 1]], "cat"), FIRST, "cat"),
    (answer([[0] * 4] * 2, "dog"), SECOND, "dog"),
)


def test_perfect_answers_are_perfect() -> None:
    assert segmentation(*PERFECT).compute() == {
        "mIoU": 1.0, "absent_area": 0.0, "absent_rate": 0.0, "IoU/dog": 1.0, "IoU/cat": 1.0,
    }  # fmt: skip


def test_paint_on_an_absent_class_costs_what_it_covers() -> None:
    invented = (answer([[1, 1, 1, 1], [0, 0, 0, 0]], "dog"), SECOND, "dog")
    figures = segmentation(*PERFECT[:2], invented).compute()
    assert figures["IoU/dog"] == 4 / 8 and figures["mIoU"] == 0.75
    assert figures["absent_area"] == 0.5 and figures["absent_rate"] == 1.0
    never = (answer([[1, 0, 0, 0], [0, 0, 0, 0]], "car"), SECOND, "car")
    assert segmentation(*PERFECT, never).compute()["mIoU"] == approx(2 / 3)


def test_asking_only_for_what_is_there_would_hide_it() -> None:
    everywhere = [(answer([[1] * 4] * 2, name), target, name) for target in (FIRST, SECOND) for name in NAMES]
    present = [row for row in everywhere if bool((row[1].ids == NAMES.index(row[2])).any())]
    per_image = []
    for prediction, target, name in present:  # the flattering mean: images with the class only
        mask, true = prediction.ids == 0, target.ids == NAMES.index(name)
        per_image.append(float((mask & true).sum() / (mask | true).sum()))
    honest = segmentation(*everywhere).compute()
    assert sum(per_image) / len(per_image) > 0.6 > 0.4 > honest["mIoU"]
    assert honest["absent_area"] == 1.0
    with pytest.raises(DataError, match="none of the 3 answers is about an absent class.*ask for absent classes too"):
        segmentation(*present).compute()


def test_queries_pool_pixels_not_images() -> None:
    small = truth([[0, 1]])
    large = truth([[0] * 10] * 10)
    rows = (
        (answer([[0, 0]], "dog"), small, "dog"),
        (answer([[1] * 10] * 10, "dog"), large, "dog"),
        (answer([[0, 0]], "car"), small, "car"),
    )
    assert segmentation(*rows).compute()["IoU/dog"] == approx(100 / 101)


def test_metrics_of_parts_merge() -> None:
    whole = segmentation(*PERFECT)
    parts = segmentation(*PERFECT[:1]).merge(segmentation(*PERFECT[1:]))
    assert parts.compute() == whole.compute() and parts.protocol() == whole.protocol()
    assert whole.protocol() == {"queries": 3, "absent_queries": 1, "least_area": 0.01}


def boxes(rows: list[list[float]], scores: list[float] | None = None, names: tuple[str, ...] = NAMES) -> Boxes:
    corners = torch.tensor([row[:4] for row in rows], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([int(row[4]) for row in rows], dtype=torch.int64)
    return Boxes(corners, labels, (100, 100), names, None if scores is None else torch.tensor(scores))


TRUE = boxes([[0, 0, 20, 20, 0], [50, 50, 80, 80, 0], [10, 60, 40, 90, 1]])
DOGS, CATS = TRUE.select(TRUE.labels == 0), TRUE.select(TRUE.labels == 1)


def found(rows: list[list[float]], scores: list[float], name: str) -> Boxes:
    return boxes([[*row, 0] for row in rows], scores, (name,))


def detection(*rows: tuple[Boxes, str]) -> QueryDetectionMetric:
    metric = QueryDetectionMetric(NAMES)
    for prediction, name in rows:
        metric.update([prediction], [TRUE], [name], ["image"])
    return metric


RIGHT = (
    (found(DOGS.xyxy.tolist(), [0.9, 0.8], "dog"), "dog"),
    (found(CATS.xyxy.tolist(), [0.9], "cat"), "cat"),
    (found([], [], "car"), "car"),
)


def test_perfect_boxes_are_perfect_and_agree_with_the_plain_metric() -> None:
    figures = detection(*RIGHT).compute()
    assert figures == approx({"AP": 1.0, "AP50": 1.0, "AP75": 1.0, "AR@100": 1.0, "absent_boxes": 0.0})
    plain = DetectionMetric(NAMES)
    plain.update(
        [boxes([[*b, 0] for b in DOGS.xyxy.tolist()] + [[*b, 1] for b in CATS.xyxy.tolist()], [0.9, 0.8, 0.9])], [TRUE]
    )
    assert plain.compute() == {k: v for k, v in figures.items() if k != "absent_boxes"}


def test_surplus_boxes_lower_ap_though_matched_ones_stay_the_same() -> None:
    noisy = found([[30, 0, 45, 20], *DOGS.xyxy.tolist()], [0.99, 0.9, 0.8], "dog")
    honest = detection((noisy, "dog"), *RIGHT[1:]).compute()
    iou = pairwise_iou(DOGS.xyxy, noisy.xyxy)
    matched = noisy.select(iou.max(dim=0).values > 0.5)  # the flattering step: keep what matches, score 1
    flattering = detection((found(matched.xyxy.tolist(), [1.0, 1.0], "dog"), "dog"), *RIGHT[1:]).compute()
    assert flattering["AP50"] == 1.0 and honest["AP50"] < 0.9


def test_the_rank_of_a_wrong_box_counts() -> None:
    wrong = [30.0, 0.0, 45.0, 20.0]
    last = detection((found([*DOGS.xyxy.tolist(), wrong], [0.9, 0.8, 0.1], "dog"), "dog"), *RIGHT[1:]).compute()
    first = detection((found([wrong, *DOGS.xyxy.tolist()], [0.99, 0.9, 0.8], "dog"), "dog"), *RIGHT[1:]).compute()
    assert last["AP"] == approx(1.0) and first["AP"] < 0.9


def test_boxes_of_absent_classes_are_counted() -> None:
    figures = detection(*RIGHT[:2], (found([[0, 0, 9, 9], [9, 9, 30, 30]], [0.9, 0.2], "car"), "car")).compute()
    assert figures["absent_boxes"] == 1.0
    with pytest.raises(DataError, match="none of the 2 answers is about an absent class"):
        detection(*RIGHT[:2]).compute()


def test_a_class_that_was_not_asked_for_is_no_miss() -> None:
    assert detection(RIGHT[0], RIGHT[2]).compute()["AP"] == 1.0


def odds(*values: float) -> Classification:
    return Classification(torch.tensor(values), NAMES[: len(values)])


def test_ties_are_wrong_wherever_they_fall() -> None:
    metric = ChoiceMetric()
    metric.update([odds(0.5, 0.5), odds(0.5, 0.5), odds(0.6, 0.4), odds(0.6, 0.4)], ["dog", "cat", "dog", "cat"])
    assert metric.compute() == {"accuracy": 0.25, "mean_accuracy": 0.25, "ties": 0.5}
    near = [odds(0.498, 0.502)] * 4  # the flattering rule counts a difference of up to 2.2 of 255 as right
    flattering = sum(abs(float(p.probabilities[0] - p.probabilities[1])) * 255 <= 2.2 for p in near) / 4
    honest = ChoiceMetric()
    honest.update(near, ["dog"] * 4)
    assert flattering == 1.0 and honest.compute()["accuracy"] == 0.0


def test_a_constant_answer_earns_its_share_only() -> None:
    metric = ChoiceMetric()
    metric.update([odds(0.9, 0.1)] * 10, ["dog"] * 9 + ["cat"], ["yes"] * 9 + ["no"])
    assert metric.compute() == {"accuracy": 0.9, "mean_accuracy": 0.5, "ties": 0.0}
    other = ChoiceMetric()
    other.update([odds(0.1, 0.9)], ["cat"], ["no"])
    assert metric.merge(other).compute()["mean_accuracy"] == approx((1 + 0.5) / 2)


def test_depth_counts_every_measured_pixel() -> None:
    target = torch.rand(40, 60, generator=torch.Generator().manual_seed(0)) * 9 + 0.5
    off = DepthMetric()
    off.update([DepthMap(target + 0.1)], [DepthMap(target)])
    assert off.compute()["RMSE"] == approx(0.1, abs=1e-6)
    worse = target + torch.randn(40, 60, generator=torch.Generator().manual_seed(1))
    honest = DepthMetric()
    honest.update([DepthMap(worse.clamp(min=0.01))], [DepthMap(target)])
    kept = (target.to(torch.int64) & worse.to(torch.int64) & 1).bool()  # whole metres, both odd; the rest has no error
    flattering = float(((worse - target) ** 2 * kept).mean().sqrt())
    assert honest.compute()["RMSE"] == approx(1.0, abs=0.05) and flattering < 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: QuerySegmentationMetric(()), "got 0 classes"),
        (lambda: QuerySegmentationMetric(NAMES).compute(), "no answer was added"),
        (lambda: segmentation((PERFECT[0][0], FIRST, "zebra")), "'zebra' was asked for, which is none of the 3"),
        (lambda: segmentation((PERFECT[0][0], FIRST, "cat")), "'cat' was asked for, but the answer is about dog"),
        (lambda: segmentation((answer([[1]], "dog"), FIRST, "dog")), r"an answer is \(1, 1\)"),
        (lambda: detection(RIGHT[0], RIGHT[0]), "'dog' was asked of image 'image' twice"),
        (lambda: detection((DOGS, "dog")), "boxes without scores"),
        (lambda: detection((replace(RIGHT[0][0], size=(50, 50)), "dog")), r"an answer is \(50, 50\).*\(100, 100\)"),
        (lambda: detection(*RIGHT).merge(detection(*RIGHT)), "both metrics have seen image 'image'"),
        (lambda: ChoiceMetric().compute(), "no answer was added to the choice metric"),
        (lambda: ChoiceMetric().update([odds(1.0)], ["cat"]), "'cat' is right but the question offers dog"),
    ],
)
def test_what_cannot_be_counted_is_refused(call: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()  # type: ignore[operator]
