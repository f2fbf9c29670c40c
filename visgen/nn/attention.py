"""Dense multi-head self-attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .init import init_linear_

__all__ = ["Attention", "attend"]

# Scores (queries x keys) per head up to which a 16-bit CPU computes them as one matrix: 2 ** 21 of them take 4 MiB.
MOST_SCORES = 2**21


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Give softmax(q k' / sqrt(d)) v for queries (B, H, M, d), keys and values (B, H, N, d).

    This is `scaled_dot_product_attention`, but for bfloat16 on a CPU, where its kernel (torch 2.15) is slower than the
    plain formula as long as all scores fit into little memory.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] * k.shape[-2] <= MOST_SCORES:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        return scores.softmax(dim=-1).to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v)


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
        out = attend(qkv[0], qkv[1], qkv[2])  # (B, H, N, d)
        return self.proj(out.transpose(1, 2).reshape(batch, tokens, -1))
