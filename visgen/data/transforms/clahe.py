"""Contrast made even over a picture, so that dark parts show what bright ones show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...errors import ConfigError
from ..sample import Sample
from .base import TRANSFORMS

__all__ = ["Clahe"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
BINS = 256


@TRANSFORMS.register("clahe")
@dataclass(frozen=True)
class Clahe:
    """Equalise the histogram of the luma in each of a grid of tiles, with bounded contrast; nothing is drawn by chance.

    Between the centres of tiles their curves are mixed bilinearly. What the luma gains or loses is added to all three
    colours, so that the chroma stays.

    Args:
        tiles: Rows and columns of the grid, 1 or more each.
        limit: Share of a grey level, over that of an even histogram, above which a histogram is cut, 1 or more. What is
            cut off is spread over all levels, so that no curve is steeper than the limit and 1.
    Source: Zuiderveld 1994, Graphics Gems IV, pages 474-485.
    """

    tiles: tuple[int, int] = (8, 8)
    limit: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiles", tuple(self.tiles))
        if len(self.tiles) != 2 or min(self.tiles) < 1:
            raise ConfigError(f"clahe: tiles is {list(self.tiles)}; give rows and columns, 1 or more each.")
        if not self.limit >= 1:
            raise ConfigError(f"clahe: limit is {self.limit}; it must be 1 or more, and 1 changes least.")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        is_bytes = sample.pixels.dtype == torch.uint8
        colours = sample.pixels.float().numpy() * (1.0 if is_bytes else 255.0)
        luma = np.tensordot(np.array(LUMA, np.float32), colours, 1)
        height, width = luma.shape
        rows, columns = min(self.tiles[0], height), min(self.tiles[1], width)
        level = luma.round().astype(np.int64).clip(0, BINS - 1)
        row, column = _cell(height, rows), _cell(width, columns)
        counts = np.zeros((rows, columns, BINS))
        np.add.at(counts, (row[:, None], column[None], level), 1)
        curves = self._curves(counts)

        new = np.zeros_like(luma)
        for near_row, weight_row in _mix(height, rows):
            for near_column, weight_column in _mix(width, columns):
                seen = curves[near_row[:, None], near_column[None], level]
                new += (weight_row[:, None] * weight_column[None] * seen).astype(np.float32)
        values = torch.from_numpy((colours + (new - luma)).clip(0, 255))
        return sample.replace(image=values.round_().to(torch.uint8) if is_bytes else values / 255)

    def _curves(self, counts: np.ndarray) -> np.ndarray:
        """Grey level to grey level (0..255) of each tile, from histograms (rows, columns, BINS)."""
        share = counts / counts.sum(-1, keepdims=True)
        most = self.limit / BINS
        over = (share - most).clip(min=0).sum(-1, keepdims=True)
        even = np.minimum(share, most) + over / BINS
        # the middle of a level's share, so that an even histogram leaves every level where it is
        curves: np.ndarray = BINS * (even.cumsum(-1) - even / 2) - 0.5
        return curves


def _cell(side: int, count: int) -> np.ndarray:
    """Tile of each pixel along a side; all tiles hold one pixel or more."""
    cells: np.ndarray = np.arange(side) * count // side
    return cells


def _mix(side: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The two tiles whose centres lie around each pixel, and their weights, which sum to 1."""
    place = ((np.arange(side) + 0.5) * count / side - 0.5).clip(0, count - 1)
    first = np.floor(place).astype(np.int64)
    second = np.minimum(first + 1, count - 1)
    return [(first, 1 - (place - first)), (second, place - first)]
