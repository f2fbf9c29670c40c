"""Projection discriminator: the logit gains the inner product of the features with an embedding of the label."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .protocol import CONDITIONS, Condition

__all__ = ["Projection"]


@CONDITIONS.register("projection")
class Projection(Condition):
    """s = base + <v_y, h>, the embedding under spectral norm.

    Source: Miyato and Koyama 2018, arXiv:1802.05637, equation 3.
    """

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__(width, n_classes)
        self.embedding = spectral_norm(nn.Embedding(n_classes, width))

    def logit(self, base: Tensor, h: Tensor, y: Tensor | None) -> Tensor:
        if y is None:
            raise ValueError("a projection discriminator got no labels; give y (B,) int64.")
        product = (self.embedding(y) * h).sum(1)
        return base + (product if base.ndim == 1 else product[:, None])
