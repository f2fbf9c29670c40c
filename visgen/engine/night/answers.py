"""How far answers about one place hold from day to night: each picture against what the place's days say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import DataError

__all__ = ["Agreement", "agreement", "brighten", "settled_map"]


@dataclass(frozen=True)
class Agreement:
    """Shares of pictures and pixels that say what the days of their place say.

    Args:
        pixels: Mean over pictures of the share of settled pixels with the class of the days.
        labels: Share of pictures with the most frequent class label of the days.
        settled: Share of pixels on which the days agree.
    """

    pixels: float
    labels: float
    settled: float


def settled_map(ids: Tensor, least: float = 0.75) -> tuple[Tensor, Tensor]:
    """Give the most frequent class of each pixel (H, W) and where at least that share of the maps has it (H, W) bool.

    Args:
        ids: (N, H, W) int64, 0 or more.
        least: Share of the N maps, in (0.5, 1].
    Raises:
        DataError: No map, or a share outside (0.5, 1].
    """
    if ids.ndim != 3 or len(ids) == 0 or not 0.5 < least <= 1:
        raise DataError(
            f"maps are {tuple(ids.shape)} and least {least}; give (N, H, W) with N >= 1 and 0.5 < least <= 1."
        )
    common = ids.mode(0).values
    return common, (ids == common).double().mean(0) >= least


def agreement(
    days: Tensor,
    day_labels: Sequence[int],
    shown: Tensor,
    labels: Sequence[int],
    own: Sequence[int | None] | None = None,
) -> Agreement:
    """Compare answers about a place with those about its days.

    Args:
        days: Class ids (N, H, W) that a model gives for pictures of the place by day.
        day_labels: Class label of each.
        shown: Class ids (M, H, W) for the pictures to compare.
        labels: Class label of each.
        own: For each of these the day that it is, or was made from, which then does not count among the days; None for
            none of them.
    Raises:
        DataError: Fewer than two days, or lengths that do not fit.
    """
    own = [None] * len(shown) if own is None else own
    if len(days) < 2 or not len(shown) == len(labels) == len(own) or len(days) != len(day_labels) or len(shown) == 0:
        raise DataError(
            f"agreement got {len(days)} days with {len(day_labels)} labels, {len(shown)} pictures with {len(labels)} "
            f"labels and {len(own)} origins; it needs two days or more and one of each for a picture."
        )
    pixels, right, settled = [], [], []
    for ids, label, origin in zip(shown, labels, own, strict=True):
        rest = [i for i in range(len(days)) if i != origin]
        common, sure = settled_map(days[rest])
        if bool(sure.any()):
            pixels.append(float((ids == common)[sure].double().mean()))
        settled.append(float(sure.double().mean()))
        right.append(label == torch.tensor([day_labels[i] for i in rest]).mode().values.item())
    mean = sum(pixels) / len(pixels) if pixels else 0.0
    return Agreement(mean, sum(right) / len(right), sum(settled) / len(settled))


def brighten(image: Tensor, level: float = 0.45) -> Tensor:
    """Raise an image (3, H, W) in [0, 1] to the power that brings its mean near `level`; brighter ones stay.

    The exponent solves mean^gamma = level and is at least 0.25, as far as noise lets one go.
    """
    mean = image.mean().clamp(min=1e-3, max=0.999)
    gamma = (torch.log(torch.tensor(level)) / torch.log(mean)).clamp(0.25, 1.0)
    return image**gamma


def mean_of_places(rows: Mapping[str, Agreement]) -> dict[str, list[float]]:
    """Give the figures of places as lists, in the order of their names."""
    ordered = [rows[place] for place in sorted(rows)]
    return {name: [getattr(row, name) for row in ordered] for name in ("pixels", "labels", "settled")}
