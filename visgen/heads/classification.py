"""Classification head: a linear layer on the image vector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

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
