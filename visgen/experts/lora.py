"""Low-rank updates of the dense layers of a model's blocks: the rival of tuning experts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ..errors import ConfigError
from ..nn.low_rank import LowRankLinear
from ..nn.routing import Router

__all__ = ["add_low_rank", "low_rank_parameters", "merge_low_rank", "rank_for"]


def add_low_rank(model: Any, rank: int) -> list[str]:
    """Put a low-rank update beside every dense linear layer of the backbone's blocks, in place.

    Banks of experts and routers are not linear layers of the model and get none; the first blocks, which all tasks
    share, do.

    Args:
        model: A MultiTaskModel; its outputs are the same before and after, bit for bit up to adding zeros.
        rank: Of every update; a layer that is narrower takes its own width.
    Returns:
        Names of the layers.
    Raises:
        ConfigError: The backbone has no blocks with linear layers, or the rank is below 1.
    """
    layers = _linear_layers(model)
    for parent, name, linear, _ in layers:
        setattr(parent, name, LowRankLinear(linear, min(rank, linear.in_features, linear.out_features)))
    return [path for *_, path in layers]


def low_rank_parameters(model: Any, rank: int) -> int:
    """Parameters that `add_low_rank` would add."""
    return sum(
        min(rank, linear.in_features, linear.out_features) * (linear.in_features + linear.out_features)
        for _, _, linear, _ in _linear_layers(model)
    )


def rank_for(model: Any, parameters: int) -> int:
    """The largest rank whose updates have at most so many parameters, at least 1."""
    widest = max(min(linear.in_features, linear.out_features) for _, _, linear, _ in _linear_layers(model))
    fitting = [rank for rank in range(1, widest + 1) if low_rank_parameters(model, rank) <= parameters]
    return fitting[-1] if fitting else 1


def merge_low_rank(model: Any) -> int:
    """Fold all low-rank updates into the weights beside them, in place; gives how many there were.

    The model then has the structure that its configuration describes and can be saved. Outputs change by rounding.
    """
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, LowRankLinear)
    ]
    for parent, name, child in found:
        setattr(parent, name, child.merged())
    return len(found)


def _linear_layers(model: Any) -> list[tuple[nn.Module, str, nn.Linear, str]]:
    """Parent, own name, layer and path of every linear layer of the blocks outside routers."""
    blocks = getattr(model.backbone, "blocks", None)
    found = list(_walk(blocks, "backbone.blocks")) if isinstance(blocks, nn.Module) else []
    if not found:
        raise ConfigError(
            f"the backbone {type(model.backbone).__name__} has no blocks with linear layers for low-rank updates; "
            "choose experts: head or full."
        )
    return found


def _walk(module: nn.Module, path: str) -> Iterator[tuple[nn.Module, str, nn.Linear, str]]:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            yield module, name, child, f"{path}.{name}"
        elif not isinstance(child, Router):
            yield from _walk(child, f"{path}.{name}")
