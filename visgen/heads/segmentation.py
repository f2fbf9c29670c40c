"""Semantic segmentation head: class scores at stride 4."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from .protocol import HEADS, Features, Head
from .pyramid_decoder import PyramidDecoder

__all__ = ["SegmentationHead"]


@HEADS.register("segmentation")
class SegmentationHead(Head):
    """Logits (B, K, ceil(H/4), ceil(W/4)); the task resizes them to the image."""

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int,
        width: int = 96,
        fine_width: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.decoder = PyramidDecoder(channels, token_dim, width, fine_width)
        self.dropout = nn.Dropout2d(dropout)
        self.project = nn.Conv2d(fine_width, outputs, 1)

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        return self.project(self.dropout(self.decoder(features)))
