"""How often a head's router picks each expert, on the pictures that a run trains on."""

from __future__ import annotations

from typing import Any

from ..data import Mixture
from ..engine.routing import add_up_routing
from ..errors import ConfigError

__all__ = ["measure_usage", "most_used"]


def measure_usage(model: Any, head: str, mixture: Mixture, batches: int) -> dict[str, list[float]]:
    """Measure the share of tokens that visit each expert, through the router of one head.

    `collect_expert_stats` tells more, of pictures as they are; this sees what training sees, augmented and in the
    proportions of the mixture.

    Args:
        model: A MultiTaskModel; it is in evaluation mode meanwhile.
        head: Head name.
        mixture: Its first batches are read, with several processes those of the first one: all get the same shares.
        batches: Draws to read.
    Returns:
        Path of each routed layer to its E shares, which sum to the experts that a token visits.
    Raises:
        ConfigError: The backbone routes nothing.
    """
    drawn = ((batch.images, (0,)) for step in range(batches) for batch in mixture.batches(step))
    found = add_up_routing(model, (model.route(head),), drawn)
    return {sums.name: (sums.selected[0] / sums.rows[0]).tolist() for sums in found}


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
