"""The size at which a model answers about a picture, for prediction and evaluation alike."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["MIN_SIDE", "resize_for_work", "working_size"]

MIN_SIDE = 32  # the least that a backbone takes


def working_size(
    size: tuple[int, int], max_side: int | None = None, min_side: int | None = None, least: int = MIN_SIDE
) -> tuple[int, int]:
    """Give the (height, width) at which a picture of `size` is answered.

    The longer side shrinks to `max_side` when it is longer and grows to `min_side` when it is shorter, keeping the
    proportions. No side falls under `least` pixels: a tiny picture or a very long strip is stretched to that along
    its short side.

    Args:
        size: (height, width) in pixels.
        max_side, min_side: Bounds of the longer side; None for none.
        least: Of either side, 32 or more.
    """
    scale = 1.0
    if max_side is not None and max(size) > max_side:
        scale = max_side / max(size)
    elif min_side is not None and max(size) < min_side:
        scale = min_side / max(size)
    return max(least, round(size[0] * scale)), max(least, round(size[1] * scale))


def resize_for_work(
    image: Tensor, max_side: int | None = None, min_side: int | None = None, least: int = MIN_SIDE
) -> Tensor:
    """Resize an image (3, H, W) in [0, 1] to its working size; the same tensor when that is its own size."""
    height, width = int(image.shape[-2]), int(image.shape[-1])
    size = working_size((height, width), max_side, min_side, least)
    if size == (height, width):
        return image
    return F.interpolate(image[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0].clamp_(0, 1)
