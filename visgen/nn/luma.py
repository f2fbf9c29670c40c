"""How bright a picture is."""

from __future__ import annotations

from torch import Tensor

__all__ = ["luma", "mean_luma"]

_WEIGHTS = (0.2126, 0.7152, 0.0722)  # of red, green and blue in ITU-R BT.709, applied to stored values


def luma(images: Tensor) -> Tensor:
    """Give the luma (..., H, W) of images (..., 3, H, W) in [0, 1], 0..1."""
    return (images * images.new_tensor(_WEIGHTS)[:, None, None]).sum(-3)


def mean_luma(images: Tensor) -> Tensor:
    """Give the mean luma (...) of images (..., 3, H, W) in [0, 1], 0..1."""
    return (images.mean((-2, -1)) * images.new_tensor(_WEIGHTS)).sum(-1)
