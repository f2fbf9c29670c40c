"""Retrieval head: one map pooled to a vector of length 1."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..nn.pooling import GeM
from .protocol import HEADS, Features, Head

__all__ = ["RetrievalHead"]


@HEADS.register("retrieval")
class RetrievalHead(Head):
    """Descriptors (B, D) of length 1: a map that is not negative, generalised-mean pooling, length 1, whitening.

    Args:
        outputs: Not read; a descriptor has as many numbers as `dim` or `whiten` say.
        dim: Channels that are pooled, by a linear map of each cell; None pools the map's own.
        stride: Of the map that is read.
        p: Exponent of the pooling at the start; it is learned.
        nonnegative: "softplus" sends each cell through a linear map and softplus, for maps whose sign has a meaning,
            such as those of a transformer, half of which clamping would lose. "clamp" counts what is negative as 0, for
            maps that are not.
        whiten: Numbers after a last linear map, which starts as a turn and is trained, or set by `set_whitening`; None
            for no such map.
    Raises:
        ConfigError: An option breaks its rule.
    Source: Radenovic et al. 2018, arXiv:1711.02512.
    """

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int,
        *,
        dim: int | None = None,
        stride: int = 32,
        p: float = 3.0,
        nonnegative: str = "softplus",
        whiten: int | None = None,
    ) -> None:
        super().__init__()
        if stride not in channels:
            raise ConfigError(
                f"stride of the retrieval head is {stride}; the backbone has {', '.join(map(str, channels))}."
            )
        if nonnegative not in ("softplus", "clamp"):
            raise ConfigError(f"nonnegative is '{nonnegative}'; use 'softplus' or 'clamp'.")
        if nonnegative == "clamp" and dim is not None:
            raise ConfigError(f"dim is {dim} but nonnegative is 'clamp', which has no linear map; use 'softplus'.")
        width = channels[stride] if dim is None else dim
        if width < 1 or (whiten is not None and not 1 <= whiten <= width):
            raise ConfigError(f"dim is {width} and whiten {whiten}; use 1 or more, and at most dim to whiten.")
        self.stride = stride
        self.project = nn.Conv2d(channels[stride], width, 1) if nonnegative == "softplus" else None
        self.pool = GeM(p)
        self.whiten = None if whiten is None else nn.Linear(width, whiten)
        if self.project is not None:
            nn.init.orthogonal_(self.project.weight)
            nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]
        if self.whiten is not None:
            nn.init.orthogonal_(self.whiten.weight)
            nn.init.zeros_(self.whiten.bias)

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        pooled = self.pooled(features)
        return pooled if self.whiten is None else F.normalize(self.whiten(pooled), dim=1)

    def pooled(self, features: Features) -> Tensor:
        """Give the descriptors before whitening, (B, dim) of length 1."""
        maps = features.pyramid[self.stride].to(torch.float32)
        return F.normalize(self.pool(maps if self.project is None else F.softplus(self.project(maps))), dim=1)

    @torch.no_grad()
    def set_whitening(self, mean: Tensor, projection: Tensor) -> None:
        """Set the last linear map to projection @ (x - mean), as `visgen.nn.whitening.learn_lw_whitening` gives them.

        Raises:
            ConfigError: The head has no whitening, or another size.
        """
        if self.whiten is None or self.whiten.weight.shape != projection.shape:
            own = None if self.whiten is None else tuple(self.whiten.weight.shape)
            raise ConfigError(
                f"whitening is {tuple(projection.shape)} but the head's is {own}; build the head with "
                f"whiten={len(projection)}."
            )
        self.whiten.weight.copy_(projection)
        self.whiten.bias.copy_(-(projection @ mean))
