"""The threshold of an OOD score: the value that keeps a chosen share of in-distribution images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConfigError, DataError

__all__ = ["kept_share", "threshold_keeping"]


def threshold_keeping(scores: Tensor, share: float = 0.95) -> float:
    """Give the least score t such that at least `share` of in-distribution `scores` (N,) are at most t.

    An image counts as unlike when its score is above t. Take validation images that no statistics were fitted on.

    Raises:
        ConfigError: A share outside (0, 1].
        DataError: No score, or one that is not finite.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share of images to keep is {share}; it must be above 0 and at most 1.")
    if scores.numel() == 0 or not bool(scores.isfinite().all()):
        raise DataError(
            f"{scores.numel()} scores cannot give a threshold; it takes finite scores of validation images."
        )
    ordered = scores.flatten().double().sort().values
    position = torch.ceil(torch.tensor(share, dtype=torch.float64) * len(ordered) - 1e-9)
    return float(ordered[int(position) - 1])


def kept_share(scores: Tensor, threshold: float) -> float:
    """Give the share of `scores` (N,) that a threshold keeps, in [0, 1]."""
    return float((scores.double() <= threshold).double().mean())
