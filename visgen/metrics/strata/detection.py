"""Strata of boxes: classes, sizes and light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...structures import Boxes, pairwise_iou
from .protocol import ALL, LIGHT, Part, Stratum, check_bounds, check_filled, light_strata, sizes_of
from .table import Detections, PrecisionTable, RatioTable

__all__ = ["BOX_SIZES", "DetectionStrata"]

BOX_SIZES = (32**2 / (640 * 480), 96**2 / (640 * 480))
"""Share of a picture's area below which a box is small, and from which it is large: COCO's bounds at 640 x 480."""
_NAMES = ("small", "medium", "large")
_MOST = 100  # boxes of a class and image that count, as in COCO


class DetectionStrata:
    """AP50 of each class beside the mean over the others, recall by size of box, and mean AP50 by light.

    Boxes are matched at an IoU of 0.5, the surest first; crowd regions are ignored as COCO does. Recall asks whether
    a true box is found by any box of its class. Where targets do not box all their classes completely, a surplus box
    may be right, so recall stands in for AP50 everywhere.

    Args:
        classes: Names of the K classes.
        light: Mean luma below which a picture is dark, and from which it is bright.
    """

    def __init__(self, classes: Sequence[str], *, light: Sequence[float] = LIGHT) -> None:
        self.classes, self.bounds = tuple(classes), check_bounds(light)
        self._rows: list[list[tuple[Tensor, Tensor]]] = []  # per image, per class: scores and whether right
        self._truth: list[tuple[Tensor, Tensor, Tensor]] = []  # per image: label, share of the area, whether found
        self._light: list[Tensor] = []
        self._is_complete = True

    def update(self, predictions: Sequence[Boxes], targets: Sequence[Boxes], light: Tensor) -> None:
        """Add images; predictions have scores."""
        for prediction, target in zip(predictions, targets, strict=True):
            rows, found = _match(prediction.to("cpu"), target.to("cpu"), len(self.classes))
            self._rows.append(rows)
            self._truth.append(found)
            self._is_complete &= target.complete is None
        self._light.append(light.detach().cpu().double())

    def strata(self) -> list[Stratum]:
        """Give the strata; see StrataCollector."""
        images, size = len(self._rows), len(self.classes)
        check_filled(images, "detection")
        counts, hits = torch.zeros(images, size), torch.zeros(images, size)
        sizes, size_hits = torch.zeros(images, 3), torch.zeros(images, 3)
        for i, (label, share, found) in enumerate(self._truth):
            counts[i] = torch.bincount(label, minlength=size)
            hits[i] = torch.bincount(label, found.double(), minlength=size)
            bucket = sizes_of(share, BOX_SIZES)
            sizes[i] = torch.bincount(bucket, minlength=3)
            size_hits[i] = torch.bincount(bucket, found.double(), minlength=3)
        metric = "AP50" if self._is_complete else "recall50"
        each: Any = self._precision(counts) if self._is_complete else RatioTable(hits, counts)
        present = tuple(k for k in range(size) if counts[:, k].any())
        found_strata = [Stratum(ALL, ALL, metric, each, Part(present), None, images, "images", images)]
        for k in present if len(present) > 1 else ():
            others = Part(tuple(i for i in present if i != k))
            total, held = int(counts[:, k].sum()), int((counts[:, k] > 0).sum())
            found_strata.append(
                Stratum("class", self.classes[k], metric, each, Part((k,)), others, total, "boxes", held)
            )
        for b, name in enumerate(_NAMES):
            rest = [o for o in range(3) if o != b]
            if not (sizes[:, b].any() and sizes[:, rest].any()):
                continue
            pooled = RatioTable(
                torch.stack([size_hits[:, b], size_hits[:, rest].sum(1)], 1),
                torch.stack([sizes[:, b], sizes[:, rest].sum(1)], 1),
            )
            total, held = int(sizes[:, b].sum()), int((sizes[:, b] > 0).sum())
            found_strata.append(Stratum("size", name, "recall50", pooled, Part((0,)), Part((1,)), total, "boxes", held))
        return found_strata + light_strata(each, present, metric, torch.cat(self._light), self.bounds)

    def _precision(self, counts: Tensor) -> PrecisionTable:
        classes = []
        for k in range(len(self.classes)):
            rows = [image[k] for image in self._rows]
            number = torch.repeat_interleave(torch.tensor([len(scores) for scores, _ in rows]))
            scores, right = (torch.cat([row[part] for row in rows]) for part in (0, 1))
            classes.append(Detections(scores, number, right, counts[:, k]))
        return PrecisionTable(classes)


def _match(
    prediction: Boxes, target: Boxes, size: int
) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, Tensor, Tensor]]:
    """Match one image; gives (scores, is right) of each class, and label, share of area and hit of each true box."""
    crowd = torch.zeros(len(target), dtype=torch.bool) if target.is_crowd is None else target.is_crowd
    overlap = pairwise_iou(prediction.xyxy.double(), target.xyxy.double())
    within = _inside(prediction.xyxy.double(), target.xyxy.double())
    assert prediction.scores is not None
    found = torch.zeros(len(target), dtype=torch.bool)
    rows = []
    for k in range(size):
        mine = (prediction.labels == k).nonzero()[:, 0]
        mine = mine[prediction.scores[mine].argsort(descending=True, stable=True)][:_MOST]
        true = ((target.labels == k) & ~crowd).nonzero()[:, 0]
        crowds = ((target.labels == k) & crowd).nonzero()[:, 0]
        right = torch.zeros(len(mine), dtype=torch.bool)
        counts = torch.ones(len(mine), dtype=torch.bool)
        for row, box in enumerate(mine.tolist()):
            free = true[~found[true]]
            best = int(overlap[box, free].argmax()) if len(free) else -1
            if best >= 0 and float(overlap[box, free[best]]) >= 0.5:
                right[row] = found[free[best]] = True
            elif len(crowds) and float(within[box, crowds].max()) >= 0.5:
                counts[row] = False
        rows.append((prediction.scores[mine][counts], right[counts]))
    sides = (target.xyxy[:, 2:] - target.xyxy[:, :2]).double()
    share = sides.prod(1) / (target.size[0] * target.size[1])
    return rows, (target.labels[~crowd], share[~crowd], found[~crowd])


def _inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Share of each box's area that lies in each region, (Q, M)."""
    low = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    common = (high - low).clamp_min(0).prod(-1)
    return common / (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp_min(1e-9)[:, None]
