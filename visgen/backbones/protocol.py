"""What every backbone gives: feature maps at strides 4, 8, 16 and 32, one vector per image, and auxiliary losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DataError
from ..nn.crop import crop
from ..registry import Registry
from ..structures.features import STRIDES, Features
from ..structures.working_size import MIN_SIDE

__all__ = ["BACKBONES", "STRIDES", "Backbone", "Features", "crop_pyramid", "pad_to_multiple"]


BACKBONES: Registry[Any] = Registry(
    "backbone", "A Backbone class built from keyword options; forward gives Features for images in [0, 1]."
)


class Backbone(nn.Module):
    """Base of all backbones.

    A subclass sets `channels` (stride -> channels of the pyramid) and `token_dim`, and defines `prefix` and
    `suffix`. The prefix does not depend on the task, so several tasks on one image pay for it once.
    """

    channels: dict[int, int]
    token_dim: int

    def prefix(self, images: Tensor) -> Any:
        """Compute what all tasks share, from images (B, 3, H, W) float32 RGB in [0, 1], H and W >= 32."""
        raise NotImplementedError(f"{type(self).__name__} must define prefix(images).")

    def suffix(self, state: Any, task: str | Tensor | None = None) -> Features:
        """Finish the features of one task (a name, or an int64 tensor (B,) of task indices) from `prefix`."""
        raise NotImplementedError(f"{type(self).__name__} must define suffix(state, task).")

    def suffixes(self, state: Any, tasks: Sequence[str]) -> dict[str, Features]:
        """Finish the features of several tasks from one `prefix`; a subclass may do it in one pass."""
        return {task: self.suffix(state, task) for task in tasks}

    def changes(self) -> dict[str, Any]:
        """Options whose values are other ones now than when it was built, because experts or tasks came or went."""
        return {}

    def forward(self, images: Tensor, task: str | Tensor | None = None, text: Any = None) -> Features:
        """Give the Features of `images` for `task`; `text` is for backbones that read an instruction."""
        return self.suffix(self.prefix(images), task)


def pad_to_multiple(images: Tensor, multiple: int = 32) -> tuple[Tensor, tuple[int, int]]:
    """Check images and pad them right and bottom with their edge values to a multiple of `multiple`.

    Args:
        images: (B, 3, H, W), floating point, H and W at least 32.
    Returns:
        The padded images and the original (H, W).
    Raises:
        DataError: Another rank, channel count, dtype or too small a side.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise DataError(
            f"images have shape {tuple(images.shape)} and dtype {images.dtype}; a backbone takes floating-point "
            "RGB (B, 3, H, W) in [0, 1]; use visgen.load_image and stack."
        )
    height, width = images.shape[-2:]
    if min(height, width) < MIN_SIDE:
        raise DataError(f"images are {height} x {width} px; both sides must be at least {MIN_SIDE}; enlarge them.")
    pad = (0, -width % multiple, 0, -height % multiple)
    if torch.compiler.is_exporting() or any(pad):  # a graph for any size pads by what its input needs, also by nothing
        images = F.pad(images, pad, mode="replicate")
    return images, (height, width)


def crop_pyramid(pyramid: dict[int, Tensor], size: tuple[int, int]) -> dict[int, Tensor]:
    """Cut maps of padded images down to ceil(H/s) x ceil(W/s) for the original `size` (H, W)."""
    height, width = size
    return {s: crop(m, -(-height // s), -(-width // s)) for s, m in pyramid.items()}
