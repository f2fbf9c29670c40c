"""Augmentation between images and discriminator: the contract, and the pipe that does nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...registry import Registry

__all__ = ["AUGMENTS", "AugmentPipe"]

AUGMENTS: Registry[Any] = Registry(
    "discriminator augmentation", "An AugmentPipe: (images, rng) -> images of the same shape, differentiable."
)


@AUGMENTS.register("none")
class AugmentPipe(nn.Module):
    """Base of all pipes; itself it leaves images alone. What adapts is a buffer, so that a restart continues it."""

    is_identity = True

    def forward(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Give images (B, 3, H, W) as the discriminator shall see them; gradients flow through."""
        return x

    def observe(self, s_real: Tensor, images: int) -> None:
        """Take in the logits of a step's reals and how many images it showed, after every discriminator step."""
