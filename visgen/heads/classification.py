"""Classification head: a linear layer on the image vector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..nn.readout import Readout
from .protocol import HEADS, Features, Head

__all__ = ["ClassificationHead"]


@HEADS.register("classification")
class ClassificationHead(Head):
    """Logits (B, K) from the token (B, D): layer norm, dropout, linear."""

    def __init__(self, channels: dict[int, int], token_dim: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(token_dim)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(token_dim, outputs)
        nn.init.trunc_normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        return self.linear(self.dropout(self.norm(features.token.to(torch.float32))))

    def readout(self) -> Readout:
        """Give norm and linear layer as one affine map of the image vector brought to mean 0 and deviation 1."""
        weight, gain, shift = self.linear.weight.detach(), self.norm.weight.detach(), self.norm.bias.detach()
        return Readout(weight * gain, weight @ shift + self.linear.bias.detach(), "layer_norm")
