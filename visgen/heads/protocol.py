"""What every head is: logits from Features, knowing strides and channels only."""

from __future__ import annotations

from typing import Any

import torch.nn as nn
from torch import Tensor

from ..registry import Registry
from ..structures.features import Features

__all__ = ["HEADS", "Head"]

HEADS: Registry[Any] = Registry("head", "A Head class built from channels, token_dim, outputs and keyword options.")


class Head(nn.Module):
    """Base of all heads; a subclass defines `forward(features, queries=None) -> logits`.

    Args of every constructor:
        channels: Stride -> channels of the pyramid it will read.
        token_dim: Width of the image vector it will read.
        outputs: Number of classes or of output channels.
    """

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define forward(features, queries).")
