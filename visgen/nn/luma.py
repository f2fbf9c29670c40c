"""How bright a picture is."""

from __future__ import annotations

from torch import Tensor

__all__ = ["LUMA", "mean_luma"]

LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of red, green and blue of ITU-R BT.709, applied to stored values."""


def mean_luma(images: Tensor) -> Tensor:
    """Give the mean luma (...) of images (..., 3, H, W) in [0, 1], 0..1."""
    return (images.mean((-2, -1)) * images.new_tensor(LUMA)).sum(-1)
