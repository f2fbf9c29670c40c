"""Blur of a map by a Gaussian that is named by its width alone."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

__all__ = ["blur"]


def blur(x: Tensor, sigma: float) -> Tensor:
    """Blur maps (..., H, W) by a Gaussian of `sigma` pixels whose kernel reaches three sigma."""
    side = 2 * max(1, round(3 * sigma)) + 1
    return gaussian_blur(x, [side, side], [sigma])
