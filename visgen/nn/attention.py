"""Dense multi-head self-attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .init import init_linear_

__all__ = ["Attention"]


class Attention(nn.Module):
    """Multi-head self-attention; names and the layout of `qkv` as in timm.

    Args:
        width: Input and output width D.
        heads: Number of heads H.
        head_dim: Width of a head; D / H when None. H * head_dim may differ from D.
        qkv_bias: Give the query, key and value projections a bias.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
    """

    def __init__(self, width: int, heads: int, head_dim: int | None = None, qkv_bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = width // heads if head_dim is None else head_dim
        inner = self.heads * self.head_dim
        self.qkv = nn.Linear(width, 3 * inner, bias=qkv_bias)
        self.proj = nn.Linear(inner, width)
        self.apply(init_linear_)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])  # (B, H, N, d)
        return self.proj(out.transpose(1, 2).reshape(batch, tokens, -1))
