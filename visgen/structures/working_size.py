"""The size at which a model answers about a picture, for prediction and evaluation alike."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["MIN_SIDE", "resize_for_work", "working_size"]

MIN_SIDE = 32  # the least that a backbone takes


def working_size(size: tuple[int, int], max_side: int | None = None, min_side: int | None = None) -> tuple[int, int]:
    """Give the (height, width) at which a picture of `size` is answered.

    The longer side shrinks to `max_side` when it is longer. A shorter side below `min_side` grows to it, as far as the
    longer one stays within `max_side`. Proportions stay, but no side falls under 32 pixels: a tiny picture or a very
    long strip is stretched to that along its short side.

    Args:
        size: (height, width) in pixels.
        max_side: The most that the longer side may have; None for any.
        min_side: What the shorter side is to have at least; None for any.
    """
    scale = 1.0
    if max_side is not None and max(size) > max_side:
        scale = max_side / max(size)
    elif min_side is not None and min(size) < min_side:
        scale = min_side / min(size)
        if max_side is not None:
            scale = min(scale, max_side / max(size))
    return max(MIN_SIDE, round(size[0] * scale)), max(MIN_SIDE, round(size[1] * scale))


def resize_for_work(image: Tensor, max_side: int | None = None, min_side: int | None = None) -> Tensor:
    """Resize an image (3, H, W) in [0, 1] to its working size; the same tensor when that is its own size.

    Antialiased; a picture is shrunk bilinearly and enlarged bicubically, which blurs it less.
    """
    height, width = int(image.shape[-2]), int(image.shape[-1])
    size = working_size((height, width), max_side, min_side)
    if size == (height, width):
        return image
    mode = "bicubic" if size[0] * size[1] > height * width else "bilinear"
    return F.interpolate(image[None], size=size, mode=mode, antialias=True, align_corners=False)[0].clamp_(0, 1)
