"""Metric depth head: an expectation over logarithmic depth bins at stride 4."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .protocol import HEADS, Features, Head
from .pyramid_decoder import PyramidDecoder

__all__ = ["DepthHead"]


@HEADS.register("depth")
class DepthHead(Head):
    """Natural logarithm of depth in metres, (B, 1, ceil(H/4), ceil(W/4)).

    The network scores `bins` fixed depths between `nearest` and `farthest` metres, spaced evenly in log depth; the
    answer is their softmax expectation, so it always lies in that range.
    Source: the expectation over bins of Bhat et al. 2021, arXiv:2011.14141; fixed bins and the log domain are ours.
    """

    centres: Tensor

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int = 1,
        width: int = 96,
        fine_width: int = 64,
        bins: int = 48,
        nearest: float = 0.3,
        farthest: float = 90.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < nearest < farthest or bins < 2:
            raise ConfigError(
                f"depth range is {nearest}..{farthest} m in {bins} bins; use 0 < nearest < farthest and 2 or more bins."
            )
        self.decoder = PyramidDecoder(channels, token_dim, width, fine_width)
        self.dropout = nn.Dropout2d(dropout)
        self.project = nn.Conv2d(fine_width, bins, 1)
        centres = torch.linspace(math.log(nearest), math.log(farthest), bins)
        self.register_buffer("centres", centres.view(1, -1, 1, 1), persistent=False)

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        scores = self.project(self.dropout(self.decoder(features))).to(torch.float32)
        return (scores.softmax(dim=1) * self.centres).sum(dim=1, keepdim=True)
