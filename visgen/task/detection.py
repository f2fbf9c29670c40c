"""Object detection: labelled boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms

from ..losses import decode_rows, detection_loss
from ..metrics import DetectionMetric
from ..metrics.strata import DetectionStrata
from ..options import build_options, call_with
from ..structures import Boxes
from .box_weighing import weigh_boxes
from .protocol import TASKS, Task

__all__ = ["DetectionLossOptions", "DetectionTask"]

CANDIDATES = 1000  # (point, class) pairs that enter suppression
LEAST_SCORE = 0.005  # spares suppression the pairs that say nothing; what is right below it is lost, also to recall
OVERLAP = 0.5  # of the boxes of one class, above which the lower score goes
MOST = 100


@dataclass(frozen=True)
class DetectionLossOptions:
    """Options of the detection loss; see `visgen.losses.detection_loss`."""

    gamma: float = 2.0
    box_weight: float = 2.0
    top_k: int = 9


class DetectionTask(Task):
    """Targets and answers are Boxes; answers carry scores, best first, at most 100 of them.

    A head may be weighed by the map of a semantic head: see `weigh_boxes`.
    """

    key = "detection"
    head = "detection"
    weighed_by = "segmentation"

    def class_counts(self, targets: Sequence[Boxes], classes: Sequence[str]) -> Tensor:
        labels = [target.labels for target in targets]
        return torch.bincount(torch.cat(labels), minlength=len(classes)).to(torch.float64)

    def loss(
        self, logits: Tensor, targets: Sequence[Any], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        chosen = build_options(DetectionLossOptions, options, "detection loss")
        return detection_loss(
            logits,
            targets,
            gamma=chosen.gamma,
            box_weight=chosen.box_weight,
            class_weights=weights,
            top_k=chosen.top_k,
        )

    def decode(
        self,
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
    ) -> list[Boxes]:
        return [
            _decode_one(one, tuple(classes), inside, size)
            for one, inside, size in zip(logits, valid, sizes, strict=True)
        ]

    def weigh(
        self,
        answers: Sequence[Boxes],
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        stride: int,
    ) -> list[Boxes]:
        return [
            weigh_boxes(boxes, one, classes, inside, stride)
            for boxes, one, inside in zip(answers, logits, valid, strict=True)
        ]

    def metric(self, classes: Sequence[str], **options: Any) -> DetectionMetric:
        return call_with(DetectionMetric, options, "it", tuple(classes))

    def strata(self, classes: Sequence[str], **options: Any) -> DetectionStrata:
        return DetectionStrata(tuple(classes), **options)


def _decode_one(rows: Tensor, classes: tuple[str, ...], valid: tuple[int, int], size: tuple[int, int]) -> Boxes:
    rows = rows.to(torch.float32)
    inside = (rows[:, 0] < valid[1]) & (rows[:, 1] < valid[0])  # a point in the padding sees no picture
    corners, scores = decode_rows(rows)
    scores = scores.sigmoid()
    flat = scores.flatten()
    # few of all pairs: choosing the best of them is quick
    able = ((scores >= LEAST_SCORE) & inside[:, None]).flatten().nonzero()[:, 0]
    best, order = flat[able].topk(min(CANDIDATES, len(able)))
    pairs = able[order]
    point, label = pairs // len(classes), pairs % len(classes)
    limit = corners.new_tensor([valid[1], valid[0], valid[1], valid[0]])
    boxes = torch.minimum(corners[point].clamp(min=0), limit)
    kept = _suppress(boxes, best, label)
    scale = corners.new_tensor([size[1] / valid[1], size[0] / valid[0]]).repeat(2)
    return Boxes(
        torch.minimum(boxes[kept] * scale, corners.new_tensor([size[1], size[0], size[1], size[0]])),
        label[kept],
        (int(size[0]), int(size[1])),
        classes,
        scores=best[kept],
    )


def _suppress(boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """Suppression within each class: indices of the `MOST` best that stay, of candidates that come best first.

    A candidate is only judged by better ones, so where enough of the first few stay, the others need not be looked at.
    """
    if not len(boxes):
        return labels
    apart = boxes + (labels * (boxes.max() + 1))[:, None]  # boxes of two classes never overlap, as in torchvision
    kept = nms(apart[: 3 * MOST], scores[: 3 * MOST], OVERLAP)
    if len(kept) < MOST and len(boxes) > 3 * MOST:
        kept = nms(apart, scores, OVERLAP)
    return kept[:MOST]


TASKS.register("detection")(DetectionTask())
