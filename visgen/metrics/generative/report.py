"""All figures of one set of generated images through one network, with the protocol that makes them comparable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import DataError
from .coverage import copy_check, inception_score, neighbourhood_figures
from .distance import frechet_distance, intra_class_frechet, jackknife, kernel_distance
from .network import FeatureNetwork, Seen

__all__ = ["generative_figures"]


def generative_figures(
    network: FeatureNetwork,
    real: Seen,
    fake: Seen,
    *,
    train: Seen | None = None,
    labels: tuple[Tensor, Tensor] | None = None,
    blocks: int = 10,
    neighbours: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure fakes against reals that no generator was trained on.

    Args:
        network: Whose eyes `real` and `fake` are.
        real, fake: What it saw, the same number of images each.
        train: What it saw in the training images, for the copy check.
        labels: Classes (N,) of reals and fakes, for the distance class by class.
        blocks: Of the jackknife behind the intervals; 0 for none.
        neighbours: k of precision, recall, density and coverage.
        seed: Of the order in which images are put before they are put into blocks.
    Returns:
        {"metrics": {...}, "protocol": {...}}; distances are {"value", "low", "high", "se"}, KD times 1000.
    Raises:
        DataError: The counts differ, or are too small.
    """
    if len(real) != len(fake):
        raise DataError(
            f"{len(real)} real and {len(fake)} generated images; measure equal numbers, since the figures depend on "
            "them."
        )
    rng = torch.Generator().manual_seed(seed)
    x, y = (side.features[torch.randperm(len(side), generator=rng)] for side in (real, fake))
    metrics: dict[str, Any] = {}
    for name, statistic in (("FD", frechet_distance), ("KD", _thousand_times_kernel)):
        found = jackknife(statistic, x, y, blocks) if blocks else {"value": statistic(x, y)}
        metrics[f"{name}-{network.name}"] = found
    metrics.update(neighbourhood_figures(x, y, neighbours))
    if fake.probabilities is not None:
        metrics["IS"] = inception_score(fake.probabilities)
    if labels is not None:
        found = intra_class_frechet(real.features, labels[0], fake.features, labels[1])
        metrics[f"class-FD-{network.name}"] = found
    if train is not None:
        metrics["copies"] = copy_check(train.features, real.features, fake.features)
    protocol = {
        **network.protocol(),
        "images": len(real),
        "generated": len(fake),
        "k": neighbours,
        "kernel": "(x.y/D + 1)^3, unbiased, all pairs, times 1000",
        "interval": f"95 %, jackknife over {blocks} blocks" if blocks else "none",
    }
    return {"metrics": metrics, "protocol": protocol}


def _thousand_times_kernel(real: Tensor, fake: Tensor) -> float:
    return 1000 * kernel_distance(real, fake)
