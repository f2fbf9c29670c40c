"""Average precision of boxes by COCO's rules, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from ..errors import DataError
from ..structures import Boxes
from .protocol import check_mergeable, check_pairs, check_same_classes

__all__ = ["DetectionMetric"]

MAX_DETECTIONS = 100


class DetectionMetric:
    """COCO's box figures over images; every figure is in [0, 1].

    `AP` is the mean over classes and IoU thresholds .50, .55 ... .95, `AP50` and `AP75` at one threshold, `AR@100` the
    class-agnostic recall of the 100 best boxes, averaged over the thresholds. Classes without a true box do not count.
    Crowd regions are ignored as COCO does. Every box that it is given takes part: no display threshold belongs here.

    Where a target does not box all its classes completely (`Boxes.complete`), a surplus box may be right, so precision
    means nothing: `AP`, `AP50` and `AP75` are then left out and `AR@100` stays.

    Args:
        classes: Names of the K classes in the order of their ids.
        per_class: Also give `AP/<class>` and `AP50/<class>` for every class with true boxes.
    """

    def __init__(self, classes: Sequence[str], *, per_class: bool = False) -> None:
        self.classes = tuple(classes)
        self.per_class = per_class
        if not self.classes:
            raise DataError("a detection metric got 0 classes; give the names of the label set.")
        self._truth: list[Boxes] = []
        self._found: list[Boxes] = []

    def update(self, predictions: Sequence[Boxes], targets: Sequence[Boxes]) -> None:
        """Add images.

        Raises:
            DataError: Unequal numbers, another label set than the metric's, predictions without scores, or sizes of a
                prediction and its target that differ.
        """
        check_pairs(predictions, targets)
        for prediction, target in zip(predictions, targets, strict=True):
            check_same_classes(self.classes, prediction.classes, "prediction")
            check_same_classes(self.classes, target.classes, "target")
            if prediction.scores is None:
                raise DataError("predicted boxes have no scores; average precision ranks by score, so give them.")
            if tuple(prediction.size) != tuple(target.size):
                raise DataError(
                    f"predicted boxes lie on an image of {tuple(prediction.size)} (height, width) and the true ones on "
                    f"{tuple(target.size)}; bring both to one size."
                )
            self._found.append(prediction.to("cpu"))
            self._truth.append(target.to("cpu"))

    def compute(self) -> dict[str, float]:
        """Give the figures.

        Raises:
            DataError: No image was added, or no image has a true box that counts.
        """
        if not any(bool((~_crowd(t)).any()) for t in self._truth):
            raise DataError(
                f"{len(self._truth)} images with 0 true boxes were added; average precision needs at least one."
            )
        figures: dict[str, float] = {}
        if all(t.complete is None for t in self._truth):
            precision = self._evaluate(agnostic=False).eval["precision"][:, :, :, 0, -1]  # (T, R, K)
            present = (precision > -1).all(axis=(0, 1))
            figures["AP"] = float(precision[:, :, present].mean())
            figures["AP50"] = float(precision[0][:, present].mean())
            figures["AP75"] = float(precision[5][:, present].mean())
            if self.per_class:
                for k in np.flatnonzero(present):
                    figures[f"AP/{self.classes[k]}"] = float(precision[:, :, k].mean())
                    figures[f"AP50/{self.classes[k]}"] = float(precision[0, :, k].mean())
        figures[f"AR@{MAX_DETECTIONS}"] = float(self._evaluate(agnostic=True).eval["recall"][:, 0, 0, -1].mean())
        return figures

    def merge(self, other: Self) -> Self:
        """Add the images of another metric of the same classes and options; gives self."""
        check_mergeable(self, other, "classes", "per_class")
        self._truth += other._truth
        self._found += other._found
        return self

    def _evaluate(self, agnostic: bool) -> Any:
        """Run pycocotools, silently; `agnostic` drops the classes."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "info": {},
                "images": [{"id": i, "height": t.size[0], "width": t.size[1]} for i, t in enumerate(self._truth)],
                "categories": [{"id": k, "name": name} for k, name in enumerate(self.classes)],
                "annotations": _annotations(self._truth),
            }
            truth.createIndex()
            found = truth.loadRes(_detections(self._found)) if any(map(len, self._found)) else _empty(COCO, truth)
            run = COCOeval(truth, found, "bbox")
            run.params.useCats = int(not agnostic)
            run.params.maxDets = [MAX_DETECTIONS]
            run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
            run.evaluate()
            run.accumulate()
        return run


def _crowd(boxes: Boxes) -> Any:
    return boxes.labels != boxes.labels if boxes.is_crowd is None else boxes.is_crowd


def _annotations(images: Sequence[Boxes]) -> list[dict[str, Any]]:
    ids = {name: k for k, name in enumerate(images[0].classes)}
    rows = [row for image, boxes in enumerate(images) for row in boxes.to_coco(image, ids)]
    return [{**row, "id": number} for number, row in enumerate(rows, start=1)]  # 0 would read as "no match"


def _detections(images: Sequence[Boxes]) -> np.ndarray:
    """Rows (image, left, top, width, height, score, class), the form that loadRes reads fastest."""
    rows = []
    for image, boxes in enumerate(images):
        xyxy = boxes.xyxy.double().numpy()
        assert boxes.scores is not None  # checked in update
        rows.append(
            np.column_stack(
                [
                    np.full(len(boxes), float(image)),
                    xyxy[:, :2],
                    xyxy[:, 2:] - xyxy[:, :2],
                    boxes.scores.double().numpy(),
                    boxes.labels.numpy(),
                ]
            )
        )
    return np.concatenate(rows)


def _empty(kind: Any, truth: Any) -> Any:
    found = kind()
    found.dataset = {**truth.dataset, "annotations": []}
    found.createIndex()
    return found
