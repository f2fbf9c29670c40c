"""Boxes as filled regions in three layers, which keep their geometry under blur, noise and JPEG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from ...errors import DataError
from ...language import TaskRequest
from ...structures import Boxes
from .letterbox import Letterbox
from .protocol import Codec, Size, label_of, median3, one_class

__all__ = ["BoxLayers", "components"]

LEAST_PARTLY = 1.5  # pixels of a side from which some pixel is covered by 3/4 at least, wherever it lies
SNAP = 0.15  # of a pixel: an edge nearer to a whole pixel is there, which keeps noise out of it
NOISE = 0.02  # distance of a brightness from black or white
GAP = 2  # pixels that two boxes of one layer stay apart, so that a blur does not join them
LEAST_FILL = 0.5  # a component that fills less of its own box is no filled box
LEAST_CONTRAST = 0.35  # nearly all specks of noise stay below it: see the tests


class BoxLayers(Codec):
    """Each box, the largest first, filled in the first of red, green and blue where it touches no other.

    A pixel that a box covers in part is as bright as its share, so that edges come back between pixels.
    What fits none of the three is left out; `overflow` counts it. The value is Boxes; decoding gives Boxes whose score
    is how much brighter it is inside than just outside. Crowds are not drawn, and the loss does not count there.
    """

    name = "det.layers"
    task = "detection"
    tolerance: ClassVar[dict[str, float]] = {"n16": 0.999, "n32": 0.999, "blur": 0.999, "half": 0.999, "jpg": 0.999}

    def check_request(self, request: TaskRequest) -> None:
        super().check_request(request)
        one_class(request, self.name)

    def valid(self, value: Boxes, request: TaskRequest, size: Size) -> Tensor:
        """(h, w) bool: all of the photograph but crowds; inside the boxes only, where the class is boxed in part."""
        box = Letterbox.fit(value.size, size)
        known = box.region()
        mine = value.labels == label_of(one_class(request, self.name), value.classes, self.name)
        if value.complete is not None and request.classes[0] not in value.complete:
            known = torch.zeros_like(known)
            for x1, y1, x2, y2 in pixel_boxes(value.select(mine), box):
                known[y1:y2, x1:x2] = True
        if value.is_crowd is not None:
            for x1, y1, x2, y2 in pixel_boxes(value.select(mine & value.is_crowd), box):
                known[y1:y2, x1:x2] = False
        return known

    def overflow(self, value: Boxes, request: TaskRequest, size: Size) -> int:
        """How many boxes of the class find no layer."""
        return self._layers(value, request, size)[1]

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        return self._layers(value, request, size)[0]

    def _layers(self, value: Any, request: TaskRequest, size: Size) -> tuple[Tensor, int]:
        if not isinstance(value, Boxes):
            raise DataError(f"codec {self.name} draws Boxes, not a {type(value).__name__}.")
        mine = value.labels == label_of(one_class(request, self.name), value.classes, self.name)
        if value.is_crowd is not None:
            mine &= ~value.is_crowd
        layers, left_out = torch.zeros(3, *size), 0
        for corners in exact_boxes(value.select(mine), Letterbox.fit(value.size, size)):
            (x1, y1), (x2, y2) = map(math.floor, corners[:2]), map(math.ceil, corners[2:])
            near = layers[:, max(0, y1 - GAP) : y2 + GAP, max(0, x1 - GAP) : x2 + GAP]
            free = (near.amax(dim=(1, 2)) == 0).nonzero().flatten()
            if len(free):
                across, down = _cover(corners[0], corners[2], x1, x2), _cover(corners[1], corners[3], y1, y2)
                layers[free[0], y1:y2, x1:x2] = down[:, None] * across[None]
            else:
                left_out += 1
        return layers, left_out

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> Boxes:
        box = Letterbox.fit(size, (int(picture.shape[1]), int(picture.shape[2])))
        inside = (picture * box.region())[:, : box.inside[0], : box.inside[1]]
        off = (inside - inside.round()).abs()
        # A quarter of all pixels off their level is noise; edges between pixels are fewer.
        clean = median3(inside) if float(off.flatten().kthvalue(int(0.75 * off.numel()) + 1).values) > NOISE else inside
        least = 1 if float(off.mean()) < NOISE else 4  # specks that noise leaves are smaller than that
        corners, scores = [], []
        for layer, plain in zip(clean, inside, strict=True):
            for x1, y1, x2, y2, area in components(layer > 0.5):
                score = _contrast(plain, x1, y1, x2, y2)
                if area >= max(least, LEAST_FILL * (x2 - x1) * (y2 - y1)) and score >= LEAST_CONTRAST:
                    left, right = _edges(plain[y1:y2], x1, x2)
                    top, bottom = _edges(plain[:, x1:x2].T, y1, y2)
                    corners.append([left, top, right, bottom])
                    scores.append(score)
        xyxy = box.undo_boxes(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4))
        odds = torch.tensor(scores, dtype=torch.float32)
        order = odds.argsort(descending=True, stable=True)
        labels = torch.zeros(len(odds), dtype=torch.int64)
        return Boxes(xyxy[order], labels, (int(size[0]), int(size[1])), request.classes, odds[order])


def _contrast(layer: Tensor, x1: int, y1: int, x2: int, y2: int) -> float:
    """Mean brightness inside a box less that of the frame of `GAP` pixels around it, in [0, 1]."""
    inside = layer[y1:y2, x1:x2]
    wide = layer[max(0, y1 - GAP) : y2 + GAP, max(0, x1 - GAP) : x2 + GAP]
    around = float(wide.sum() - inside.sum()) / max(1, wide.numel() - inside.numel())
    return min(1.0, max(0.0, float(inside.mean()) - around))


def _cover(low: float, high: float, first: int, last: int) -> Tensor:
    """The share of each of the pixels first..last - 1 that lies between two edges."""
    start = torch.arange(first, last, dtype=torch.float32)
    return (torch.clamp(start + 1, max=high) - torch.clamp(start, min=low)).clamp(0, 1)


def _edges(lines: Tensor, first: int, last: int) -> tuple[float, float]:
    """Where a box begins and ends, between pixels, from the brightness at its two ends.

    Args:
        lines: The rows (n, w) that the box takes; `first`, `last` its columns.
    """
    rows = lines[1:-1] if len(lines) > 2 else lines  # the outermost rows are covered in part themselves
    profile = rows.mean(dim=0)
    inner = profile[first + 1 : last - 1] if last - first > 2 else profile[first:last].max()
    level = float(inner.median())
    at = lambda k: min(1.0, float(profile[k]) / level) if 0 <= k < len(profile) and level > 0 else 0.0  # noqa: E731
    before, after = (1 - at(first)) - at(first - 1), (1 - at(last - 1)) - at(last)
    low = first + before if abs(before) > SNAP else first
    return low, (last - after if abs(after) > SNAP else last)


def exact_boxes(value: Boxes, box: Letterbox) -> list[tuple[float, float, float, float]]:
    """The boxes on the canvas by falling area, then x, then y; narrow ones take whole pixels."""
    rows, columns = box.inside
    found: list[tuple[float, float, float, float]] = []
    for x1, y1, x2, y2 in box.place_boxes(value.clip().xyxy.cpu()).tolist():
        for left, top, right, bottom in _whole([(x1, y1, x2, y2)], box):
            wide, high = x2 - x1 >= LEAST_PARTLY, y2 - y1 >= LEAST_PARTLY
            low, last = (x1, min(x2, columns)) if wide else (float(left), float(right))
            up, down = (y1, min(y2, rows)) if high else (float(top), float(bottom))
            found.append((low, up, last, down))
    return sorted(found, key=lambda b: (-(b[2] - b[0]) * (b[3] - b[1]), b[0], b[1]))


def pixel_boxes(value: Boxes, box: Letterbox) -> list[tuple[int, int, int, int]]:
    """The boxes on the canvas in whole pixels, at least one wide, by falling area, then x, then y; those of no area or
    outside the photograph are left out."""
    corners = [tuple(row) for row in box.place_boxes(value.clip().xyxy.cpu()).tolist()]
    return sorted(_whole(corners, box), key=lambda b: (-(b[2] - b[0]) * (b[3] - b[1]), b[0], b[1]))


def _whole(corners: Sequence[tuple[float, ...]], box: Letterbox) -> list[tuple[int, int, int, int]]:
    rows, columns = box.inside
    found = []
    for x1, y1, x2, y2 in corners:
        if x2 <= x1 or y2 <= y1:
            continue
        left, top = min(round(x1), columns - 1), min(round(y1), rows - 1)
        found.append((left, top, min(columns, max(left + 1, round(x2))), min(rows, max(top + 1, round(y2)))))
    return found


def components(mask: Tensor) -> list[tuple[int, int, int, int, int]]:
    """The 4-connected regions of a mask (h, w) bool: x1, y1, x2, y2 of each with its number of pixels."""
    labels, _ = ndimage.label(mask.numpy())
    areas = np.bincount(labels.ravel())
    found = ndimage.find_objects(labels)
    return [(s[1].start, s[0].start, s[1].stop, s[0].stop, int(areas[k])) for k, s in enumerate(found, 1)]
