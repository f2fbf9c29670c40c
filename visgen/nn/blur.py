"""Blur of maps: by a Gaussian that is named by its width alone, and by three pixels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

__all__ = ["Binomial", "binomial", "blur"]


def blur(x: Tensor, sigma: float) -> Tensor:
    """Blur maps (..., H, W) by a Gaussian of `sigma` pixels whose kernel reaches three sigma."""
    side = 2 * max(1, round(3 * sigma)) + 1
    return gaussian_blur(x, [side, side], [sigma])


def binomial(x: Tensor) -> Tensor:
    """Blur maps (B, C, H, W) by 1, 2, 1 both ways, borders reflected."""
    return F.avg_pool2d(F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 2, 1), 2, 1)


class Binomial(nn.Module):
    """`binomial` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return binomial(x)
