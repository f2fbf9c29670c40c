"""Distances between two sets of features: Frechet, with its bias, and kernel, without."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import torch
from torch import Tensor

from ...errors import DataError

__all__ = ["frechet_distance", "gaussian_distance", "intra_class_frechet", "jackknife", "kernel_distance"]


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Squared Frechet distance of the Gaussians fitted to features (N, D) and (M, D).

    Biased upwards by about 1 / N; compare at equal counts, and prefer the kernel distance below some 10,000.

    Source: Heusel et al. 2017, arXiv:1706.08500.
    """
    _check(real, fake)
    moments = [(x.double().mean(0), torch.cov(x.double().T).reshape(x.shape[1], x.shape[1])) for x in (real, fake)]
    return gaussian_distance(*moments[0], *moments[1])


def gaussian_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of means (D,) and covariances (D, D), in float64.

    The trace of the root is the sum of the roots of the eigenvalues of the symmetric A C2 A with A = C1^(1/2), so no
    complex numbers and no added diagonal are needed where covariances are singular.
    """
    values, vectors = torch.linalg.eigh(cov1.double())
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    inner = root @ cov2.double() @ root
    between = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt().sum()
    distance = (mean1.double() - mean2.double()).square().sum() + cov1.trace() + cov2.trace() - 2 * between
    return float(distance)


def kernel_distance(real: Tensor, fake: Tensor, degree: int = 3) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x . y / D + 1)^degree; it may be below zero.

    Source: Binkowski et al. 2018, arXiv:1801.01401; over all pairs at once, not over subsets.
    """
    _check(real, fake)
    x, y = real.double(), fake.double()
    n, m, width = len(x), len(y), x.shape[1]

    def total(a: Tensor, b: Tensor) -> Tensor:
        return sum(((part @ b.T / width + 1) ** degree).sum() for part in a.split(1024))  # type: ignore[return-value]

    def own(a: Tensor) -> Tensor:
        return ((a.square().sum(1) / width + 1) ** degree).sum()

    within = (total(x, x) - own(x)) / (n * (n - 1)) + (total(y, y) - own(y)) / (m * (m - 1))
    return float(within - 2 * total(x, y) / (n * m))


def intra_class_frechet(
    real: Tensor, real_labels: Tensor, fake: Tensor, fake_labels: Tensor, least: int = 50
) -> dict[str, float]:
    """Frechet distance class by class; biased more than over all images, since each class has fewer.

    Args:
        real, fake: Features (N, D), (M, D).
        real_labels, fake_labels: Classes (N,), (M,) int64.
        least: Images that each class must have on both sides.
    Returns:
        "mean" over classes and one value for each, under its number.
    """
    found: dict[str, float] = {}
    for label in sorted(set(real_labels.tolist()) | set(fake_labels.tolist())):
        sides = real[real_labels == label], fake[fake_labels == label]
        if min(len(side) for side in sides) < least:
            raise DataError(
                f"class {label} has {len(sides[0])} real and {len(sides[1])} generated images; give {least} of each, "
                "or lower `least` and mind the bias."
            )
        found[str(label)] = frechet_distance(*sides)
    return {"mean": sum(found.values()) / len(found), **found}


def jackknife(
    statistic: Callable[[Tensor, Tensor], float], real: Tensor, fake: Tensor, blocks: int = 10, level: float = 0.95
) -> dict[str, float]:
    """Give {"value", "low", "high", "se"} of a statistic of two sets, leaving out a tenth of both at a time.

    The interval is value +- z * se under a normal law: sampling error of these images, not of another training.

    Args:
        statistic: Called with features of reals and fakes.
        real, fake: (N, D), (M, D), in random order.
        blocks: Groups that are left out in turn.
        level: Of the interval.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 11 (grouped jackknife).
    """
    if blocks < 3 or min(len(real), len(fake)) < 2 * blocks or not 0 < level < 1:
        raise DataError(
            f"jackknife got {len(real)} and {len(fake)} images, {blocks} blocks and level {level}; use 3 blocks or "
            "more, twice as many images, and a level between 0 and 1."
        )
    value = statistic(real, fake)
    group = [torch.arange(len(x)) % blocks for x in (real, fake)]
    left = torch.tensor([statistic(real[group[0] != b], fake[group[1] != b]) for b in range(blocks)]).double()
    se = float(((blocks - 1) / blocks * (left - left.mean()).square().sum()).sqrt())
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return {"value": value, "low": value - z * se, "high": value + z * se, "se": se}


def _check(real: Tensor, fake: Tensor) -> None:
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1] or min(len(real), len(fake)) < 2:
        raise DataError(
            f"features are {tuple(real.shape)} and {tuple(fake.shape)}; give (N, D) and (M, D) of the same network, "
            "two images or more each."
        )
    if not (bool(real.isfinite().all()) and bool(fake.isfinite().all())):
        raise DataError("features hold numbers that are not finite; check the images and the network.")
