"""The two-layer MLP of a transformer block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .init import init_linear_

__all__ = ["Mlp"]


class Mlp(nn.Module):
    """Linear, GELU, Linear; names as in timm so that checkpoints map one to one.

    Args:
        width: Input and output width D.
        hidden: Width between the layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.apply(init_linear_)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))
