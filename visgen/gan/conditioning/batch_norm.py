"""Batch norm of a generator, whose scale and shift may depend on the label."""

from __future__ import annotations

from torch import Tensor, nn

from ...errors import DataError

__all__ = ["ConditionalBatchNorm"]


class ConditionalBatchNorm(nn.Module):
    """Batch norm over (B, C, H, W); with classes, output * (1 + gain_y) + shift_y, which starts as plain batch norm.

    Args:
        channels: C.
        n_classes: K; 0 for plain batch norm.
    Source: de Vries et al. 2017, arXiv:1707.00683; Miyato and Koyama 2018, arXiv:1802.05637.
    """

    def __init__(self, channels: int, n_classes: int = 0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=n_classes == 0)
        self.n_classes = n_classes
        if n_classes:
            self.gain, self.shift = nn.Embedding(n_classes, channels), nn.Embedding(n_classes, channels)
            nn.init.zeros_(self.gain.weight)
            nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.norm(x)
        if not self.n_classes:
            return x
        if y is None:
            raise DataError(f"no labels came; this layer has {self.n_classes} classes, give y (B,) int64.")
        return x * (1 + self.gain(y))[:, :, None, None] + self.shift(y)[:, :, None, None]
