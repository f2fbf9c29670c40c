"""A linear layer with a trained low-rank update beside its fixed weight."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["LowRankLinear"]


class LowRankLinear(nn.Module):
    """y = W x + b + (scale / rank) U (D x), with D (rank, in) and U (out, rank); U, and so the update, starts at zero.

    `weight` and `bias` are the parameters of the layer that it stands for, under their old names; `down` and `up` are
    new and alone meant to be trained.

    Args:
        linear: The layer; its parameters are shared, not copied.
        rank: Inner width, 1..min(in, out).
        scale: Factor on the update, over the rank; at `rank` the update enters as it is.
    Raises:
        ConfigError: The rank is out of range.
    Source: Hu et al. 2021 (LoRA), arXiv:2106.09685, section 4.1.
    """

    def __init__(self, linear: nn.Linear, rank: int, scale: float | None = None) -> None:
        super().__init__()
        most = min(linear.in_features, linear.out_features)
        if not 1 <= rank <= most:
            raise ConfigError(
                f"rank is {rank} but the layer maps {linear.in_features} to {linear.out_features}; use 1..{most}."
            )
        self.rank = rank
        self.factor = 1.0 if scale is None else scale / rank
        self.weight, self.bias = linear.weight, linear.bias
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) + self.factor * F.linear(F.linear(x, self.down), self.up)

    def merged(self) -> nn.Linear:
        """Give a plain layer of the same function, up to rounding: W + (scale / rank) U D."""
        out, width = self.weight.shape
        linear = nn.Linear(width, out, bias=self.bias is not None, device=self.weight.device, dtype=self.weight.dtype)
        with torch.no_grad():
            update = self.up.double() @ self.down.double()
            linear.weight.copy_(self.weight.double() + self.factor * update)
            if self.bias is not None:
                linear.bias.copy_(self.bias)
        return linear
