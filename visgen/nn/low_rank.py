"""Trained low-rank updates beside fixed weights: of one linear layer, or of all matrices and kernels of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import CheckpointError, ConfigError

__all__ = ["LowRankLinear", "LowRankUpdate", "add_updates", "fold_updates", "trained_tensors"]


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


class LowRankUpdate(nn.Module):
    """Parametrisation of a weight (out, ...) as W + U D, with D (rank, in) and U (out, rank), which starts at zero."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out, width = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, width) / math.sqrt(width))
        self.up = nn.Parameter(torch.zeros(out, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).view(weight.shape)


def add_updates(module: nn.Module, rank: int) -> int:
    """Let the matrices and kernels of all layers train by low-rank updates, biases and norms in full, no embedding.

    A weight that is hardly larger than its update would be trains in full too.

    Args:
        module: Changed in place; what it computes is not.
        rank: Inner width of the updates.
    Returns:
        Number of trained parameters.
    Raises:
        ConfigError: The rank is below 1.
    Source: Hu et al. 2021 (LoRA), arXiv:2106.09685, section 4.1; here for kernels too.
    """
    if rank < 1:
        raise ConfigError(f"rank of the updates is {rank}; it must be 1 or more.")
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.ndim < 2)
    for layer in list(module.modules()):
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            weight = layer.weight
            if weight.numel() > 2 * rank * (weight.shape[0] + weight[0].numel()):
                parametrize.register_parametrization(layer, "weight", LowRankUpdate(weight, rank))
            else:
                weight.requires_grad_(True)
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Give what trained after `add_updates`: NAME.up and NAME.down of updated weights, the others by their names."""
    found = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            found[name.replace("parametrizations.weight.0.", "weight.")] = parameter.detach()
    return found


def fold_updates(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the updates among named tensors (NAME.up and NAME.down) to the weights NAME, in float32.

    Raises:
        CheckpointError: An update of no weight, half of one, or one of another shape.
    """
    folded = {name: value for name, value in tensors.items() if not name.endswith((".up", ".down"))}
    for name in (name for name in tensors if name not in folded):
        key = name.rpartition(".")[0]
        if key not in folded or f"{key}.up" not in tensors or f"{key}.down" not in tensors:
            raise CheckpointError(f"tensor '{name}' is no update: '{key}', '{key}.up' and '{key}.down' go together.")
        if name.endswith(".up"):
            weight, update = folded[key], tensors[name].double() @ tensors[f"{key}.down"].double()
            if update.numel() != weight.numel() or update.shape[0] != weight.shape[0]:
                raise CheckpointError(
                    f"the update of '{key}' is {tuple(update.shape)}, its weight {tuple(weight.shape)}."
                )
            folded[key] = (weight.double() + update.view(weight.shape)).float()
    return folded
