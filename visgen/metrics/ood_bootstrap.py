"""How sure a difference between two OOD scores is: both asked about the same images, which are drawn many times."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import DataError
from .ood import auroc

__all__ = ["mean_auroc", "paired_auroc"]


def mean_auroc(inside: Tensor, outsides: Mapping[str, Tensor]) -> float:
    """Give the mean over outsides, and over seeds, of the AUROC.

    Args:
        inside: Scores of in-distribution images, (N,) or (S, N) for S trainings.
        outsides: Name to scores (M,) or (S, M).
    """
    sides = [torch.atleast_2d(side) for side in outsides.values()]
    rows = torch.atleast_2d(inside)
    found = [auroc(row, side[seed]) for side in sides for seed, row in enumerate(rows)]
    return sum(found) / len(found)


def paired_auroc(
    first: tuple[Tensor, Mapping[str, Tensor]],
    second: tuple[Tensor, Mapping[str, Tensor]],
    generator: torch.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> dict[str, float]:
    """Give the difference of `mean_auroc` of two ways to score the same images, second less first, with its interval.

    Each draw takes as many images of each side as there are, with replacement, the same ones for both ways.

    Args:
        first, second: Scores of the inside and of each outside, as `mean_auroc` takes them.
        generator: Source of the draws.
        draws: Number of draws.
        level: Share of the draws inside the interval, between 0 and 1.
    Returns:
        `difference`, its bounds `low` and `high` (percentiles of the draws), and `above_zero`, the share of the draws
        in which the second way is the better one.
    Raises:
        DataError: The two were not asked about the same numbers of images, or a level outside (0, 1).
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile interval).
    """
    shapes = [{"inside": way[0].shape[-1], **{k: v.shape[-1] for k, v in way[1].items()}} for way in (first, second)]
    if shapes[0] != shapes[1] or 0 in shapes[0].values() or len(shapes[0]) < 2:
        raise DataError(f"two ways to score have images {shapes[0]} and {shapes[1]}; ask both about the same ones.")
    if not 0 < level < 1 or draws < 1:
        raise DataError(f"level is {level} and draws is {draws}; use a level between 0 and 1 and 1 draw or more.")
    found = torch.empty(draws, dtype=torch.float64)
    for i in range(draws):
        rows = {name: torch.randint(count, (count,), generator=generator) for name, count in shapes[0].items()}
        values = [
            mean_auroc(way[0][..., rows["inside"]], {name: side[..., rows[name]] for name, side in way[1].items()})
            for way in (first, second)
        ]
        found[i] = values[1] - values[0]
    rest = (1 - level) / 2
    return {
        "difference": mean_auroc(*second) - mean_auroc(*first),
        "low": float(found.quantile(rest)),
        "high": float(found.quantile(1 - rest)),
        "above_zero": float((found > 0).double().mean()),
    }
