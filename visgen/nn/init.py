"""Initial values: what a weight starts from, scaled by its fan-in."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["init_expert_weight_", "init_linear_", "init_router_"]

ROUTER_STD = 0.02  # specs of Mod-Squad and V-MoE: a small normal, so that all experts start about equally likely


def init_expert_weight_(weight: Tensor) -> Tensor:
    """Fill expert weights (E, out, in) with a truncated normal of variance 1 / in, in place.

    The fan is that of one expert; `nn.init` on a 3-D tensor would count the experts into it.
    """
    std = 1 / math.sqrt(weight.shape[-1])
    with torch.no_grad():
        return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def init_linear_(module: nn.Module) -> None:
    """Fill the weights of a Linear with a truncated normal of variance 1 / in and its bias with zeros."""
    if isinstance(module, nn.Linear):
        std = 1 / math.sqrt(module.in_features)
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_router_(weight: Tensor) -> Tensor:
    """Fill router weights with a normal of standard deviation 0.02, in place."""
    with torch.no_grad():
        return nn.init.normal_(weight, std=ROUTER_STD)
