"""How sure a difference between two models is: both measured on the same images, which are drawn again and again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["bootstrap_over_best", "mean_of_groups", "paired_bootstrap"]


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
        DataError: Shapes that do not fit, models that count for different images, a level outside (0, 1), or no image
            that counts.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile interval).
    """
    return bootstrap_over_best([first], second, generator, draws, level)


def bootstrap_over_best(
    others: Sequence[Tensor], model: Tensor, generator: torch.Generator, draws: int = 2000, level: float = 0.95
) -> dict[str, float]:
    """Give by how much the figure of a model exceeds the largest of several others, with its interval.

    As `paired_bootstrap`, which is the case of one other; the best of the others is found anew in each draw, so that
    the interval knows that it was picked.

    Args:
        others: (S, N, G) of each other model, over the same images and groups.
        model: (S, N, G) of the model.
        generator, draws, level: As in `paired_bootstrap`.
    Returns:
        As `paired_bootstrap`.
    Raises:
        DataError: As in `paired_bootstrap`, or no other model.
    """
    if not others:
        raise DataError("a model was to be compared with 0 others; give at least one.")
    for other in others:
        _check_paired(other, model)
    if not 0 < level < 1 or draws < 1:
        raise DataError(f"level is {level} and draws is {draws}; use a level between 0 and 1 and 1 draw or more.")
    found = torch.empty(draws, dtype=torch.float64)
    for i in range(draws):
        images = torch.randint(model.shape[1], (model.shape[1],), generator=generator)
        means = []
        for values in (*others, model):
            seeds = torch.randint(len(values), (len(values),), generator=generator)
            means.append(mean_of_groups(values[seeds].double().mean(0)[images]))
        found[i] = means[-1] - torch.stack(means[:-1]).max()
    found = found[~found.isnan()]  # a draw in which no image counts says nothing
    if not len(found):
        raise DataError("no image counts for any group of the models; measure them on images that do.")
    rest = (1 - level) / 2
    # A model's figure is linear in its seeds, so the mean over seeds may be taken first.
    best = torch.stack([mean_of_groups(other.double().mean(0)) for other in others]).max()
    return {
        "difference": float(mean_of_groups(model.double().mean(0)) - best),
        "low": float(found.quantile(rest)),
        "high": float(found.quantile(1 - rest)),
        "above_zero": float((found > 0).double().mean()),
    }


def _check_paired(first: Tensor, second: Tensor) -> None:
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
