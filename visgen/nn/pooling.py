"""Generalised-mean pooling: between the mean of a map (p = 1) and its maximum (p -> infinity)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["GeM", "generalised_mean"]


def generalised_mean(values: Tensor, p: Tensor | float, dims: tuple[int, ...] = (-2, -1), eps: float = 1e-6) -> Tensor:
    """Give (mean of max(v, eps)^p)^(1/p) over `dims`.

    Args:
        values: Any shape; what lies below `eps` counts as `eps`, so values should not be negative.
        p: Above 0.
        dims: Dimensions that vanish.
        eps: Keeps roots and their gradients finite.
    Source: Radenovic et al. 2018, arXiv:1711.02512, equation 3.
    """
    return values.clamp(min=eps).pow(p).mean(dims).pow(1 / p)


class GeM(nn.Module):
    """Pool maps (B, C, h, w) to vectors (B, C) with one learned exponent.

    Args:
        p: Exponent at the start, above 0.
        eps: See `generalised_mean`.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        if not p > 0 or not eps > 0:
            raise ConfigError(f"GeM has p {p} and eps {eps}; both must be above 0.")
        self.p = nn.Parameter(torch.tensor(float(p)))
        self.eps = eps

    def forward(self, maps: Tensor) -> Tensor:
        # far below 1 the root would overflow; training has no reason to go there
        return generalised_mean(maps, self.p.clamp(min=0.1), eps=self.eps)
