"""The last step of a classifier as plain values: what it reads of an image vector, and the affine map behind it."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, nearest

__all__ = ["PREPARATIONS", "Readout", "prepare_vectors"]

PREPARATIONS = ("none", "layer_norm", "unit")


@dataclass(frozen=True)
class Readout:
    """Logits of a classifier as scale * (W z + b), or scale * |W z + b|, with z made from the image vector.

    Args:
        weight: W (K, D).
        bias: b (K,).
        prepare: How z follows from the vector: "none", "layer_norm" (mean 0 and deviation 1 over the D numbers, any
            gain and shift being part of W and b), or "unit" (length 1).
        is_absolute: Take the absolute value of each affine result.
        scale: Factor on the result.
    Raises:
        ConfigError: Shapes that do not fit, or another preparation.
    """

    weight: Tensor
    bias: Tensor
    prepare: str = "none"
    is_absolute: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.prepare not in PREPARATIONS:
            raise ConfigError(
                f"prepare of a readout is '{self.prepare}'{nearest(self.prepare, PREPARATIONS)} Known: "
                f"{', '.join(PREPARATIONS)}."
            )
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ConfigError(
                f"a readout has weight {tuple(self.weight.shape)} and bias {tuple(self.bias.shape)}; they must be "
                "(K, D) and (K,)."
            )

    def inputs(self, vectors: Tensor) -> Tensor:
        """Give z (B, D) from image vectors (B, D)."""
        return prepare_vectors(vectors, self.prepare)

    def logits(self, inputs: Tensor) -> Tensor:
        """Give the logits (B, K) from z (B, D)."""
        found = F.linear(inputs, self.weight.to(inputs), self.bias.to(inputs))
        return self.scale * (found.abs() if self.is_absolute else found)


def prepare_vectors(vectors: Tensor, prepare: str) -> Tensor:
    """Bring vectors (B, D) to the form that a readout reads; see `Readout`."""
    if prepare == "layer_norm":
        return F.layer_norm(vectors, vectors.shape[-1:])
    return F.normalize(vectors, dim=-1) if prepare == "unit" else vectors
