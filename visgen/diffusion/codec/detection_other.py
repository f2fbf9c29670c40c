"""Two other pictures of boxes: hollow frames, as InstructCV draws them, and discs with shaded sizes.

Both lose more than `BoxLayers` (crossing frames merge, shades do not survive noise); they serve to read
checkpoints that were trained on frames, and to show the difference.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import DataError
from ...language import TaskRequest
from ...structures import Boxes
from .detection import BoxLayers, components, pixel_boxes
from .letterbox import Letterbox
from .protocol import Size, label_of, one_class, settle

__all__ = ["BoxDiscs", "BoxFrames"]

LINE = 2  # pixels of a frame
RADIUS = 4  # pixels of a disc
SMALLEST = 2.0  # pixels at shade 0; the longer side of the canvas is shade 1


class BoxFrames(BoxLayers):
    """Hollow blue frames of 2 pixels on black; each connected blue region is one box."""

    name = "det.frame"
    tolerance: ClassVar[dict[str, float]] = {}

    def overflow(self, value: Boxes, request: TaskRequest, size: Size) -> int:
        return 0

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        picture = torch.zeros(3, *size)
        for x1, y1, x2, y2 in _boxes_of(value, request, size, self.name):
            frame = torch.ones(y2 - y1, x2 - x1)
            frame[LINE:-LINE, LINE:-LINE] = 0
            picture[2, y1:y2, x1:x2] = torch.maximum(picture[2, y1:y2, x1:x2], frame)
        return picture

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> Boxes:
        box = Letterbox.fit(size, (int(picture.shape[1]), int(picture.shape[2])))
        inside = picture[:, : box.inside[0], : box.inside[1]]
        blue = (inside[2] - inside[:2].amax(dim=0)).clamp(0, 1)  # also on a photograph, where white is no frame
        found = [c for c in components(blue > 0.5) if c[4] >= 4]
        scores = [float(blue[y1:y2, x1:x2][blue[y1:y2, x1:x2] > 0.5].mean()) for x1, y1, x2, y2, _ in found]
        return _as_boxes([c[:4] for c in found], scores, box, request)


class BoxDiscs(BoxLayers):
    """A red disc at the centre of each box; green and blue inside it tell width and height on a log scale."""

    name = "det.disc"
    tolerance: ClassVar[dict[str, float]] = {}

    def overflow(self, value: Boxes, request: TaskRequest, size: Size) -> int:
        return 0

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        picture = torch.zeros(3, *size)
        y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
        most = math.log(max(size) / SMALLEST)
        for x1, y1, x2, y2 in _boxes_of(value, request, size, self.name):
            disc = (x - (x1 + x2) / 2) ** 2 + (y - (y1 + y2) / 2) ** 2 <= RADIUS**2
            picture[0][disc] = 1
            for channel, side in ((1, x2 - x1), (2, y2 - y1)):
                picture[channel][disc] = min(1.0, max(0.0, math.log(side / SMALLEST) / most))
        return picture

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> Boxes:
        canvas = (int(picture.shape[1]), int(picture.shape[2]))
        box = Letterbox.fit(size, canvas)
        red = settle(picture[:1])[0] > 0.5
        most = math.log(max(max(canvas) / SMALLEST, 1.0))
        corners, scores = [], []
        for x1, y1, x2, y2, area in components(red):
            inside = red[y1:y2, x1:x2]
            if area < RADIUS:
                continue
            rows, columns = inside.nonzero().to(torch.float32).mean(dim=0).tolist()
            width, height = (
                SMALLEST * math.exp(most * float(picture[c, y1:y2, x1:x2][inside].median())) / 2 for c in (1, 2)
            )
            cx, cy = x1 + columns + 0.5, y1 + rows + 0.5
            corners.append((cx - width, cy - height, cx + width, cy + height))
            scores.append(float(picture[0, y1:y2, x1:x2][inside].mean()))
        return _as_boxes(corners, scores, box, request)


def _boxes_of(value: Any, request: TaskRequest, size: Size, codec: str) -> list[tuple[int, int, int, int]]:
    if not isinstance(value, Boxes):
        raise DataError(f"codec {codec} draws Boxes, not a {type(value).__name__}.")
    mine = value.labels == label_of(one_class(request, codec), value.classes, codec)
    if value.is_crowd is not None:
        mine &= ~value.is_crowd
    return pixel_boxes(value.select(mine), Letterbox.fit(value.size, size))


def _as_boxes(corners: list[Any], scores: list[float], box: Letterbox, request: TaskRequest) -> Boxes:
    xyxy = box.undo_boxes(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4))
    odds = torch.tensor(scores, dtype=torch.float32)
    order = odds.argsort(descending=True, stable=True)
    return Boxes(xyxy[order], torch.zeros(len(odds), dtype=torch.int64), box.source, request.classes, odds[order])
