"""How sure a difference between two models is: both measured on the same images, which are drawn again and again."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["mean_of_groups", "paired_bootstrap"]


def mean_of_groups(values: Tensor) -> Tensor:
    """Give the mean over groups of each group's mean over images, a scalar.

    Args:
        values: (..., N, G) per image and group; NaN where an image does not count for a group. A group for which no
            image counts is left out.
    """
    return values.nanmean(dim=-2).nanmean(dim=-1)


def paired_bootstrap(
    first: Tensor,
    second: Tensor,
    generator: torch.Generator,
    draws: int = 2000,
    level: float = 0.95,
) -> dict[str, float]:
    """Give the difference of `mean_of_groups` of two models, second less first, with its interval.

    Each draw takes N images with replacement, the same for both models, and for each model as many of its seeds as it
    has, likewise with replacement.

    Args:
        first, second: (S, N, G) per seed, image and group (predicate, class; one group for a plain mean), NaN where an
            image does not count for a group. The numbers of seeds may differ.
        generator: Source of the draws.
        draws: Number of draws.
        level: Share of the draws inside the interval, between 0 and 1.
    Returns:
        `difference`, its bounds `low` and `high` (percentiles of the draws), and `above_zero`, the share of the draws
        in which the second model is the better one.
    Raises:
        DataError: Shapes that do not fit, models that count for different images, or a level outside (0, 1).
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile interval).
    """
    if first.ndim != 3 or second.ndim != 3 or first.shape[1:] != second.shape[1:] or 0 in first.shape + second.shape:
        raise DataError(
            f"values of two models are {tuple(first.shape)} and {tuple(second.shape)}; both must be (seeds, images, "
            "groups) over the same images and groups."
        )
    counted = first[0].isnan()
    if not (
        torch.equal(first.isnan(), counted.expand_as(first)) and torch.equal(second.isnan(), counted.expand_as(second))
    ):
        raise DataError("the models count for different images; measure both on the same targets.")
    if not 0 < level < 1 or draws < 1:
        raise DataError(f"level is {level} and draws is {draws}; use a level between 0 and 1 and 1 draw or more.")
    found = torch.empty(draws, dtype=torch.float64)
    for i in range(draws):
        images = torch.randint(first.shape[1], (first.shape[1],), generator=generator)
        means = []
        for values in (first, second):
            seeds = torch.randint(len(values), (len(values),), generator=generator)
            means.append(mean_of_groups(values[seeds].double().mean(0)[images]))
        found[i] = means[1] - means[0]
    rest = (1 - level) / 2
    # A model's figure is linear in its seeds, so the mean over seeds may be taken first.
    difference = mean_of_groups(second.double().mean(0)) - mean_of_groups(first.double().mean(0))
    return {
        "difference": float(difference),
        "low": float(found.quantile(rest)),
        "high": float(found.quantile(1 - rest)),
        "above_zero": float((found > 0).double().mean()),
    }
