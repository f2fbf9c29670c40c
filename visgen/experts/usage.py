"""How often a head's router picks each expert, on the pictures that a run trains on."""

from __future__ import annotations

from typing import Any

import torch

from ..data import Mixture
from ..errors import ConfigError

__all__ = ["measure_usage", "most_used"]


@torch.no_grad()
def measure_usage(model: Any, head: str, mixture: Mixture, batches: int) -> dict[str, list[float]]:
    """Measure the share of tokens that visit each expert, through the router of one head.

    Args:
        model: A MultiTaskModel; it is in evaluation mode meanwhile.
        head: Head name.
        mixture: Its first batches are read, as training sees them.
        batches: Draws to read.
    Returns:
        Path of each routed layer to its E shares, which sum to the experts that a token visits.
    Raises:
        ConfigError: The backbone routes nothing.
    """
    layers = getattr(model.backbone, "routed_layers", ())
    if not layers:
        raise ConfigError("this model's backbone routes nothing, so no expert is used more than another; use vit_moe.")
    was_training = model.training
    device = next(model.parameters()).device
    model.eval()
    chosen = [torch.zeros(layer.num_experts, dtype=torch.float64) for layer in layers]
    rows = 0.0
    try:
        for step in range(batches):
            for batch in mixture.batches(step):
                state = model.prefix(batch.images.to(device))
                found = model.backbone.suffix(state, model.route(head), collect=True).extras["routing"]
                rows += float(found[0]["rows"].sum())
                for total, one in zip(chosen, found, strict=True):
                    total += one["selected"].sum(0).double().cpu()
    finally:
        model.train(was_training)
    return {layer.name: (total / rows).tolist() for layer, total in zip(layers, chosen, strict=True)}


def most_used(shares: list[float], count: int, layer: str, *, least: bool = False) -> list[int]:
    """The `count` experts of the largest shares (the smallest with `least`), sorted; lower numbers first among equals.

    Raises:
        ConfigError: The layer has fewer experts.
    """
    if not 1 <= count <= len(shares):
        raise ConfigError(
            f"{count} experts are to train but layer {layer} has {len(shares)}; use 1..{len(shares)}, or experts: full."
        )
    order = sorted(range(len(shares)), key=lambda e: (shares[e] if least else -shares[e], e))
    return sorted(order[:count])
