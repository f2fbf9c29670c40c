"""The graphs of a batch in flat tensors, as the networks of the compositional GAN read them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import DataError

__all__ = ["GraphBatch"]


@dataclass(frozen=True)
class GraphBatch:
    """Boxes, their classes and their ordered pairs, of all pictures of a batch.

    Attributes:
        boxes: Corners (n, 4) float32 in cells of the map.
        labels: Classes (n,) int64.
        image: Picture (n,) int64 of each box, not falling.
        ends: Pairs (M, 2) int64 into the boxes: subject and object.
        predicates: (M,) int64: 0 where nothing is annotated, else the predicate's id plus 1.
        cells: (B, 2) int64, the rows and columns of the map that each picture fills.
        grid: (h, w) of the map.
        ids: One name per picture, so that a sample never receives its own features.
    Raises:
        DataError: Lengths that do not fit.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    ends: Tensor
    predicates: Tensor
    cells: Tensor
    grid: tuple[int, int]
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        n, m = len(self.labels), len(self.predicates)
        if len(self.boxes) != n or len(self.image) != n or len(self.ends) != m or len(self.cells) != len(self.ids):
            raise DataError(
                f"a graph batch has {len(self.boxes)} boxes, {n} labels, {len(self.image)} image numbers, "
                f"{len(self.ends)} pairs, {m} predicates, {len(self.cells)} sizes and {len(self.ids)} ids; boxes, "
                "labels and numbers must be equally many, so must pairs and predicates, and sizes and ids."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def with_labels(self, labels: Tensor) -> GraphBatch:
        """Give the same graphs with other classes."""
        return replace(self, labels=labels)

    def relations(self) -> tuple[Tensor, Tensor]:
        """Give the annotated pairs (m, 2), and their predicates' ids (m,) from 0 on."""
        there = self.predicates > 0
        return self.ends[there], self.predicates[there] - 1

    def owner(self, node: Tensor) -> list[str]:
        """Give the id of the picture that each of the boxes `node` (k,) lies in."""
        return [self.ids[i] for i in self.image[node].tolist()]

    def inside(self) -> Tensor:
        """Give (B, 1, h, w) float32: 1 on the cells that a picture fills, else 0."""
        rows = torch.arange(self.grid[0], device=self.cells.device)
        columns = torch.arange(self.grid[1], device=self.cells.device)
        return ((rows[:, None] < self.cells[:, 0, None, None]) & (columns < self.cells[:, 1, None, None])).float()[
            :, None
        ]
