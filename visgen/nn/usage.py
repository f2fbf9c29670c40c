"""How much an image used each expert, from the routing statistics of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["expert_usage"]


def expert_usage(routing: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Give the share of an image's visits that fell on each expert, (B, sum of E) over the routed layers.

    The shares of one layer sum to 1.

    Args:
        routing: One dictionary for each routed layer with "experts" and "weights" (B, N, k), as a backbone records with
            `collect`, and "selected" (G, E). A choice of weight 0, which a budget closed, is no visit.
    Raises:
        DataError: No layer, or one without the experts of every token.
    """
    if not routing or any("experts" not in layer for layer in routing):
        raise DataError(
            f"{len(routing)} routed layers hold no experts of single tokens; run the backbone with collect=True, and "
            "one that has experts."
        )
    shares = []
    for layer in routing:
        chosen, visited = layer["experts"].flatten(1).clamp_min(0), (layer["weights"].flatten(1) > 0).float()
        counts = torch.zeros(len(chosen), layer["selected"].shape[1], device=chosen.device)
        shares.append(counts.scatter_add_(1, chosen, visited) / visited.sum(1, keepdim=True))
    return torch.cat(shares, dim=1)
