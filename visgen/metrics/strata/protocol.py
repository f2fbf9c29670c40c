"""What a stratum is: a part of a data set with a figure of its own, and the part that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ...errors import DataError

__all__ = ["ALL", "KINDS", "LIGHT", "Part", "StrataCollector", "Stratum", "Table", "light_strata", "sizes_of"]

ALL = "all"
"""Kind of the first stratum of a collector: the whole data set."""
KINDS = (ALL, "class", "size", "light", "depth", "predicate", "composition")
LIGHT = (0.3, 0.6)
"""Mean luma below which a picture is dark, and from which it is bright."""


class Table(Protocol):
    """Figures of G groups (classes, ranges) over weighted images."""

    images: int
    groups: int

    def __call__(self, weights: Tensor) -> Tensor:
        """Give the figures (R, G) under weights (R, N), each a number of times that an image counts; NaN for none."""


@dataclass(frozen=True)
class Part:
    """Columns of a table, and the images that count; the figure is the mean over the columns that have one.

    Args:
        groups: Column numbers.
        images: (N,) bool; None for all.
    """

    groups: tuple[int, ...]
    images: Tensor | None = None


@dataclass(frozen=True)
class Stratum:
    """A part of a data set beside the rest of it.

    Args:
        kind: One of KINDS.
        name: Which one, such as a class.
        metric: Name of the figure.
        table: Where the figure comes from.
        part: The stratum.
        rest: What it is compared with; None compares with nothing.
        count: Examples in it, in `unit`s.
        unit: What is counted.
        images: Images that hold one.
        higher_is_better: False for an error.
        members: What it consists of, where that is not its name (compositions), worst first.
    """

    kind: str
    name: str
    metric: str
    table: Table
    part: Part
    rest: Part | None
    count: int
    unit: str
    images: int
    higher_is_better: bool = True
    members: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Kind and name, which together are unique within a head."""
        return f"{self.kind}/{self.name}"


@runtime_checkable
class StrataCollector(Protocol):
    """Sees answers and targets image by image and gives the strata of a task."""

    def update(self, predictions: Sequence[Any], targets: Sequence[Any], light: Tensor) -> None:
        """Add images; `light` (B,) is the mean luma of each, 0..1."""

    def strata(self) -> list[Stratum]:
        """Give all strata, that of the whole data set first; raises DataError when nothing was added."""


def light_strata(
    table: Table,
    groups: Sequence[int],
    metric: str,
    light: Tensor,
    bounds: Sequence[float] = LIGHT,
    higher_is_better: bool = True,
) -> list[Stratum]:
    """Give the strata dark, medium and bright of images, those that hold an image; none when all are alike.

    Args:
        table, groups, metric, higher_is_better: The figure of the whole data set.
        light: Mean luma (N,) of the images.
        bounds: Mean luma below which a picture is dark, and from which it is bright.
    """
    low, high = check_bounds(bounds)
    level = torch.bucketize(light, torch.tensor([low, high], dtype=light.dtype), right=True)
    found = []
    for number, name in enumerate(("dark", "medium", "bright")):
        inside = level == number
        count = int(inside.sum())
        if 0 < count < len(light):
            part, rest = Part(tuple(groups), inside), Part(tuple(groups), ~inside)
            found.append(Stratum("light", name, metric, table, part, rest, count, "images", count, higher_is_better))
    return found


def sizes_of(share: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Give 0 for small, 1 for medium and 2 for large (any shape) from shares of the picture's area."""
    return torch.bucketize(share, torch.tensor(bounds, dtype=share.dtype), right=True)


def check_bounds(bounds: Sequence[float]) -> tuple[float, float]:
    """Give two bounds of luma as a pair; raises DataError unless 0 < first < second < 1."""
    pair = tuple(float(b) for b in bounds)
    if len(pair) != 2 or not 0 < pair[0] < pair[1] < 1:
        raise DataError(
            f"bounds of light are {list(bounds)}; use two rising numbers between 0 and 1, such as 0.3, 0.6."
        )
    return pair[0], pair[1]


def check_filled(images: int, task: str) -> None:
    """Raise DataError when no image was added."""
    if images == 0:
        raise DataError(f"no image was added to the strata of {task}; call update first.")
