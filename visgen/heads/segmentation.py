"""Semantic segmentation head: class scores at stride 4, or at stride 2 by sub-pixel shuffling."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from .protocol import HEADS, Features, Head
from .pyramid_decoder import PyramidDecoder

__all__ = ["SegmentationHead"]


@HEADS.register("segmentation")
class SegmentationHead(Head):
    """Logits (B, K, ceil(H/4) * f, ceil(W/4) * f) with f = 4 / `stride`; the task resizes them to the image.

    Args:
        channels, token_dim, outputs: See Head.
        width, fine_width: See PyramidDecoder.
        dropout: Share of the decoder's channels dropped in training.
        stride: 4, or 2: every stride-4 cell then scores its four quarters apart, which keeps thin things.
    Source: the shuffle of Shi et al. 2016, arXiv:1609.05158, section 3.2.
    """

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int,
        width: int = 96,
        fine_width: int = 64,
        dropout: float = 0.1,
        stride: int = 4,
    ) -> None:
        super().__init__()
        if stride not in (2, 4):
            raise ConfigError(f"segmentation head has stride {stride}; use 4, or 2 for thin things.")
        self.factor = 4 // stride
        self.decoder = PyramidDecoder(channels, token_dim, width, fine_width)
        self.dropout = nn.Dropout2d(dropout)
        self.project = nn.Conv2d(fine_width, outputs * self.factor**2, 1)

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        scores = self.project(self.dropout(self.decoder(features)))
        return F.pixel_shuffle(scores, self.factor) if self.factor > 1 else scores
