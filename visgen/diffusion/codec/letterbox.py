"""A picture of any proportions on a canvas of one size, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import DataError

__all__ = ["Letterbox"]


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies on a canvas: resized with its proportions kept, top left, the rest is padding.

    A picture of the size of the canvas is not touched, so that nothing is lost there.

    Args:
        source: (height, width) of the picture in pixels.
        canvas: (height, width) of the canvas in pixels.
        inside: (height, width) that the picture takes on the canvas.
    """

    source: tuple[int, int]
    canvas: tuple[int, int]
    inside: tuple[int, int]

    @classmethod
    def fit(cls, source: tuple[int, int], canvas: tuple[int, int]) -> Letterbox:
        """Make the picture as large as the canvas allows.

        Raises:
            DataError: A side is not a positive integer.
        """
        for name, size in (("picture", source), ("canvas", canvas)):
            if len(size) != 2 or not all(int(side) == side and side > 0 for side in size):
                raise DataError(f"size of the {name} is {tuple(size)}; it must be (height, width), positive integers.")
        (height, width), (rows, columns) = (int(source[0]), int(source[1])), (int(canvas[0]), int(canvas[1]))
        scale = min(rows / height, columns / width)
        inside = (min(rows, max(1, round(height * scale))), min(columns, max(1, round(width * scale))))
        return cls((height, width), (rows, columns), inside)

    @property
    def scale(self) -> tuple[float, float]:
        """Canvas pixels per pixel of the picture, down and across."""
        return self.inside[0] / self.source[0], self.inside[1] / self.source[1]

    def region(self, device: torch.device | str = "cpu") -> Tensor:
        """(h, w) bool: true where the picture lies, false on the padding."""
        region = torch.zeros(self.canvas, dtype=torch.bool, device=device)
        region[: self.inside[0], : self.inside[1]] = True
        return region

    def place_image(self, image: Tensor, fill: float = 0.0) -> Tensor:
        """Lay a photograph (C, H, W) on the canvas, smoothly; `fill` is the padding."""
        self._check(image, self.source)
        small = image
        if self.source != self.inside:
            small = F.interpolate(image[None], self.inside, mode="bilinear", antialias=True, align_corners=False)[0]
        return self._pad(small, fill)

    def place_map(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """Lay labels, masks or depth (C, H, W) on the canvas by nearest neighbour, so that no new value appears."""
        self._check(values, self.source)
        small = values
        if self.source != self.inside:
            small = F.interpolate(values[None].to(torch.float32), self.inside, mode="nearest-exact")[0].to(values.dtype)
        return self._pad(small, fill)

    def undo(self, values: Tensor) -> Tensor:
        """Cut soft maps (C, h, w) of the canvas back to the picture and bring them to its size (C, H, W)."""
        self._check(values, self.canvas)
        inside = values[:, : self.inside[0], : self.inside[1]]
        if self.source == self.inside:
            return inside
        return F.interpolate(inside[None], self.source, mode="bilinear", antialias=True, align_corners=False)[0]

    def place_boxes(self, xyxy: Tensor) -> Tensor:
        """Boxes (Q, 4) of the picture in canvas pixels."""
        down, across = self.scale
        return xyxy * xyxy.new_tensor([across, down, across, down])

    def undo_boxes(self, xyxy: Tensor) -> Tensor:
        """Boxes (Q, 4) of the canvas in pixels of the picture, cut at its edges."""
        down, across = self.scale
        height, width = self.source
        found = xyxy / xyxy.new_tensor([across, down, across, down])
        return torch.minimum(found.clamp(min=0), found.new_tensor([width, height, width, height]))

    def _pad(self, small: Tensor, fill: float) -> Tensor:
        canvas = small.new_full((small.shape[0], *self.canvas), fill)
        canvas[:, : self.inside[0], : self.inside[1]] = small
        return canvas

    def _check(self, values: Tensor, size: tuple[int, int]) -> None:
        if values.ndim != 3 or tuple(values.shape[1:]) != size:
            raise DataError(f"a map has shape {tuple(values.shape)}; this letterbox takes (C, {size[0]}, {size[1]}).")
