"""Depth as grey: metres on a log scale, or a relative depth between two percentiles."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from scipy import ndimage
from torch import Tensor

from ...errors import DataError
from ...language import TaskRequest
from ...structures import DepthMap
from .letterbox import Letterbox
from .protocol import Codec, Size, median3

__all__ = ["AffineDepth", "LogDepth"]

NOISE = 0.01  # channels of a clean grey agree; a standard deviation across them above this is noise


class _Depth(Codec):
    task = "depth"

    def check_request(self, request: TaskRequest) -> None:
        super().check_request(request)
        if request.exclude:
            raise DataError(
                f"codec {self.name} draws the depth of the whole picture, but the request leaves out "
                f"{' and '.join(request.exclude)}; ask for everything, and for a segmentation of what to leave out."
            )

    def valid(self, value: DepthMap, request: TaskRequest, size: Size) -> Tensor:
        """(h, w) bool: pixels whose depth was measured."""
        return Letterbox.fit(value.size, size).place_map(value.valid[None])[0]

    def _grey(self, value: Any, size: Size) -> tuple[Tensor, Letterbox]:
        """The depth (h, w) on the canvas, holes filled with the nearest known one."""
        if not isinstance(value, DepthMap):
            raise DataError(f"codec {self.name} draws a DepthMap, not a {type(value).__name__}.")
        if not bool(value.valid.any()):
            raise DataError("the depth map has no known pixel, so there is nothing to draw; leave this image out.")
        return fill_holes(value.metres.cpu()), Letterbox.fit(value.size, size)

    def _shade(self, picture: Tensor, size: Size) -> Tensor:
        """The shade (H, W) in [0, 1] of a picture in [0, 1]: the mean of its channels, which agree."""
        grey = picture.mean(dim=0, keepdim=True)
        if float(picture.std(dim=0).mean()) > NOISE:
            grey = median3(grey)
        return Letterbox.fit(size, (int(picture.shape[1]), int(picture.shape[2]))).undo(grey)[0].clamp(0, 1)


class LogDepth(_Depth):
    """Metres between `near` (black) and `far` (white) on a log scale, the same in all channels."""

    name = "depth.log"
    tolerance: ClassVar[dict[str, float]] = {"clean8": 0.006, "n16": 0.09, "jpg": 0.02}

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        metres, box = self._grey(value, size)
        if value.kind != "metric_m":
            raise DataError(f"codec {self.name} draws metres, but the depth is '{value.kind}'; use depth.affine.")
        near, far = self.settings.near, self.settings.far
        shade = (metres.clamp(near, far) / near).log() / math.log(far / near)
        return box.place_map(shade[None]).expand(3, -1, -1).clone()

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> DepthMap:
        near, far = self.settings.near, self.settings.far
        return DepthMap(near * (self._shade(picture, size) * math.log(far / near)).exp())


class AffineDepth(_Depth):
    """Any depth between its 2nd and 98th percentile; decoding gives it up to an unknown scale and shift."""

    name = "depth.affine"
    tolerance: ClassVar[dict[str, float]] = {}

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        filled, box = self._grey(value, size)
        known = value.metres[value.valid].to("cpu", torch.float32)
        low, high = _percentile(known, 0.02), _percentile(known, 0.98)
        shade = ((filled - low) / max(high - low, 1e-6)).clamp(0, 1)
        return box.place_map(shade[None]).expand(3, -1, -1).clone()

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> DepthMap:
        # 0 would read as "missing", so that the scale begins just above it
        return DepthMap(self._shade(picture, size) + 1e-3, "relative")


def fill_holes(metres: Tensor) -> Tensor:
    """Give each missing pixel (0) of a map (H, W) the depth of the nearest known one; some pixel must be known."""
    missing = metres <= 0
    if not bool(missing.any()):
        return metres
    rows, columns = ndimage.distance_transform_edt(missing.numpy(), return_distances=False, return_indices=True)
    return metres[torch.from_numpy(rows).long(), torch.from_numpy(columns).long()]


def _percentile(values: Tensor, share: float) -> float:
    place = min(len(values) - 1, int(share * len(values)))
    return float(values.sort().values[place])
