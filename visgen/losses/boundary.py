"""Loss of boundary maps in which few pixels are boundary and people disagree about some of them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["boundary_loss"]


def boundary_loss(logits: Tensor, share: Tensor, *, agreed: float = 0.3, positive_factor: float = 1.1) -> Tensor:
    """Binary cross entropy in which boundary and background weigh the same over the batch.

    Pixels that `agreed` of the people or more marked are boundary, those that nobody marked are background; between the
    two nothing is asked.

    Args:
        logits: (B, 1, H, W).
        share: Share of people who marked each pixel (B, 1, H, W), in [0, 1]; below 0 for padding.
        agreed: Least share of a boundary pixel, in (0, 1].
        positive_factor: Weight of the background in units of the share of boundary pixels.
    Returns:
        A scalar: the sum over pixels, over the number of pixels asked.
    Raises:
        ValueError: Shapes that differ.
    Source: Xie and Tu 2015 (HED), arXiv:1504.06375, equation 2; Liu et al. 2017 (RCF), arXiv:1612.02103, equation 1,
        for the pixels left out and the factor. Theirs is summed per image; here the batch shares its weights.
    """
    if logits.shape != share.shape:
        raise ValueError(f"logits are {tuple(logits.shape)} and the shares {tuple(share.shape)}; they must be equal.")
    positive = (share >= agreed).to(logits.dtype)
    negative = (share == 0).to(logits.dtype)
    boundary, background = positive.sum(), negative.sum()
    asked = (boundary + background).clamp(min=1)
    weight = positive * (background / asked) + negative * (positive_factor * boundary / asked)
    return F.binary_cross_entropy_with_logits(logits, positive, weight=weight, reduction="sum") / asked
