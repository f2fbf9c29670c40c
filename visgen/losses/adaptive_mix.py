"""AdaptiveMix for recognition: pull the features of a mixed picture to where the mixed features lie."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["draw_mix", "mix_rows", "mixed_cross_entropy", "shrink_loss"]


def draw_mix(rows: int, alpha: float = 1.0) -> tuple[float, Tensor]:
    """Draw how a batch is mixed, from torch's global generator: lam ~ Beta(alpha, alpha) and a permutation (rows,).

    Raises:
        ValueError: alpha is not above 0.
    Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; the Beta distribution of a mix needs a number above 0.")
    lam = float(torch.distributions.Beta(alpha, alpha).sample())
    return lam, torch.randperm(rows)


def mix_rows(x: Tensor, partner: Tensor, lam: float | Tensor) -> Tensor:
    """Give lam * x + (1 - lam) * x[partner] for x (B, ...); lam is a number, or one for each row (B,)."""
    share = lam if isinstance(lam, float) else lam.to(x).reshape(-1, *[1] * (x.ndim - 1))
    return share * x + (1 - share) * x[partner.to(x.device)]


def shrink_loss(mixed: Tensor, target: Tensor, sigma: float = 0.05) -> Tensor:
    """Mean squared distance of the features of mixed pictures from the mixed features, with noise on the latter.

    Args:
        mixed: F(lam x_a + (1 - lam) x_b), (B, C).
        target: lam F(x_a) + (1 - lam) F(x_b), (B, C); no gradient flows into it.
        sigma: Deviation of the normal noise added to the target, from torch's global generator; 0 adds none.
    Raises:
        ValueError: Shapes that differ, or a negative sigma.
    Source: the reference implementation of AdaptiveMix (Liu et al. 2023, arXiv:2303.01559).
    """
    if mixed.shape != target.shape or sigma < 0:
        raise ValueError(
            f"shrink loss got {tuple(mixed.shape)} and {tuple(target.shape)} with sigma {sigma}; the shapes must be "
            "equal and sigma 0 or more."
        )
    goal = target.detach()
    if sigma:
        goal = goal + sigma * torch.randn_like(goal)
    return F.mse_loss(mixed, goal)


def mixed_cross_entropy(logits: Tensor, labels: Tensor, others: Tensor, lam: float | Tensor) -> Tensor:
    """Give the mean of lam CE(logits, labels) + (1 - lam) CE(logits, others).

    Args:
        logits: Of the mixed pictures (B, K).
        labels: Classes (B,) int64 of the pictures with the share lam.
        others: Classes (B,) of those that they were mixed with.
        lam: A number, or one for each row (B,).
    """
    own = F.cross_entropy(logits.float(), labels, reduction="none")
    other = F.cross_entropy(logits.float(), others, reduction="none")
    share = lam if isinstance(lam, float) else lam.to(own)
    return (share * own + (1 - share) * other).mean()
