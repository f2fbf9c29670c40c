"""Classification by angle: frozen orthonormal class vectors, and the absolute cosine with each."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..nn.readout import Readout
from .protocol import HEADS, Features, Head

__all__ = ["OrthogonalHead"]


@HEADS.register("orthogonal")
class OrthogonalHead(Head):
    """Logits (B, K) = scale * |w_k . f|, with f (B, C) the image vector on the unit sphere.

    The rows of w are orthonormal and stay as they were drawn. Where there are more classes than numbers in the image
    vector, or `dim` says so, a trained linear map comes first.

    Args:
        dim: C, at least the number of classes; null takes the width of the image vector, or the number of classes
            where that is larger.
        scale: Without one (1) logits lie in [0, 1] and the softmax is nearly even; a larger one sharpens it.
    Raises:
        ConfigError: `dim` is below the number of classes, or the scale not above 0.
    Source: the classifier of AdaptiveMix (Liu et al. 2023, arXiv:2303.01559); the scale is ours.
    """

    weight: Tensor

    def __init__(
        self, channels: dict[int, int], token_dim: int, outputs: int, *, dim: int | None = None, scale: float = 1.0
    ) -> None:
        super().__init__()
        width = max(token_dim, outputs) if dim is None else dim
        if width < outputs:
            raise ConfigError(
                f"orthogonal head has dim {width} and {outputs} classes; orthonormal vectors need dim >= classes."
            )
        if not scale > 0:
            raise ConfigError(f"orthogonal head has scale {scale}; it must be above 0.")
        self.scale = float(scale)
        self.project: nn.Module = nn.Identity() if width == token_dim and dim is None else nn.Linear(token_dim, width)
        self.register_buffer("weight", nn.init.orthogonal_(torch.empty(outputs, width)))

    def embed(self, features: Features) -> Tensor:
        """Give f (B, C) of length 1."""
        return F.normalize(self.project(features.token.to(torch.float32)), dim=1)

    def score(self, embedded: Tensor) -> Tensor:
        """Give the logits (B, K) of points (B, C), which need not have length 1."""
        return self.scale * F.linear(embedded, self.weight).abs()

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        return self.score(self.embed(features))

    def readout(self) -> Readout | None:
        """Give the last layer as values; None where a linear map lies between it and the image vector."""
        if not isinstance(self.project, nn.Identity):
            return None
        return Readout(self.weight, self.weight.new_zeros(len(self.weight)), "unit", True, self.scale)
