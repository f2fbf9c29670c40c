"""The noise of a camera: how much of it nights have, and the same for pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["add_grain", "estimate_noise"]

MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))  # blind to even ground, slopes and straight edges
NORMAL = 0.6745  # median of the absolute value of a standard normal


def estimate_noise(pictures: Tensor) -> Tensor:
    """Give the standard deviation (N, 3) in grey levels of the pixel noise of pictures (N, 3, H, W) uint8.

    Source: Immerkaer 1996, doi:10.1006/cviu.1996.0060; here by the median of the responses, which things move less
    than the mean.
    """
    mask = torch.tensor(MASK)[None, None]
    responses = F.conv2d(pictures.float().flatten(0, 1)[:, None], mask).flatten(1).abs()
    found: Tensor = responses.median(1).values / (NORMAL * mask.norm())
    return found.view(-1, 3)


def add_grain(pictures: Tensor, others: Tensor, seed: int = 0) -> Tensor:
    """Give pictures (N, 3, H, W) uint8 as much Gaussian noise as others (M, 3, h, w) uint8 have, in turn.

    It comes on top of what a picture has: chequers of a network would pass for noise, and are none.
    """
    sigma = estimate_noise(others)[torch.arange(len(pictures)) % len(others)]
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    return (pictures.float() + sigma[..., None, None] * noise).round().clamp(0, 255).to(torch.uint8)
