"""What a generator and a discriminator are: the contracts that losses, regularisers and sources rely on."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import ConfigError, DataError
from ...registry import Registry
from ..conditioning.protocol import Condition, Unconditional

__all__ = ["DISCRIMINATORS", "GENERATORS", "DFeatures", "Discriminator", "Generator", "mix_features"]

GENERATORS: Registry[Any] = Registry("generator", "A Generator class: (z, y) -> images (B, 3, H, W) in [-1, 1].")
DISCRIMINATORS: Registry[Any] = Registry(
    "discriminator", "A Discriminator class: features(x) treats every image on its own, logits(f, y) judges."
)


class DFeatures(NamedTuple):
    """What a discriminator sees in a batch.

    Attributes:
        maps: Maps (B, C, h, w), the coarsest last.
        h: The vector (B, D) that the heads read: a linear function of the last map (a sum or a flattening), so that
            the mean of two features is a feature.
    """

    maps: list[Tensor]
    h: Tensor


def mix_features(f: DFeatures, weight: Tensor | float, order: Tensor) -> DFeatures:
    """Give weight * f + (1 - weight) * f[order], map by map; `order` (B,) is a permutation of the batch."""
    return DFeatures([torch.lerp(m[order], m, weight) for m in f.maps], torch.lerp(f.h[order], f.h, weight))


class Generator(nn.Module):
    """Base of all generators from noise.

    Args:
        z_dim: Width of the latent vector.
        n_classes: K; 0 for a generator that takes no label.
        resolution: Side of the square images in pixels.
    """

    def __init__(self, z_dim: int, n_classes: int, resolution: int) -> None:
        super().__init__()
        if z_dim < 1 or n_classes < 0:
            raise ConfigError(f"a generator got z_dim {z_dim} and {n_classes} classes; use 1 and 0 or more.")
        self.z_dim, self.n_classes, self.resolution = z_dim, n_classes, resolution

    def draw_latent(self, number: int, rng: torch.Generator) -> Tensor:
        """Draw latent vectors (number, z_dim) from the standard normal distribution, on the device of `rng`."""
        return torch.randn(number, self.z_dim, generator=rng, device=rng.device)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Give images (B, 3, resolution, resolution) in [-1, 1] for latents (B, z_dim) and labels (B,) int64."""
        raise NotImplementedError(f"{type(self).__name__} must define forward.")

    def check(self, z: Tensor, y: Tensor | None) -> None:
        """Raise DataError unless latents and labels fit this generator."""
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise DataError(f"latents are {tuple(z.shape)}; this generator takes (B, {self.z_dim}).")
        if self.n_classes and y is None:
            raise DataError(f"no labels came; this generator draws {self.n_classes} classes, give y (B,) int64.")


class Discriminator(nn.Module):
    """Base of all discriminators: `features` looks, `logits` judges.

    `features` must treat each image on its own (no batch norm, no batch statistics), because regularisers mix and
    reuse features; what compares images of a batch belongs into `logits`.

    Args:
        width: D, the width of `DFeatures.h`.
        condition: How labels enter; it owns its heads. None ignores labels.
    """

    def __init__(self, width: int, condition: Condition | None = None) -> None:
        super().__init__()
        self.width = width
        self.condition = condition or Unconditional()

    def features(self, x: Tensor) -> DFeatures:
        """Look at images (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} must define features.")

    def base_logit(self, f: DFeatures) -> Tensor:
        """Judge features without labels: (B,), or (B, P) for P patches or scales; higher is more real."""
        raise NotImplementedError(f"{type(self).__name__} must define base_logit.")

    def logits(self, f: DFeatures, y: Tensor | None = None) -> Tensor:
        """Judge features under labels (B,) int64: (B,) or (B, P), higher is more real."""
        return self.condition.logit(self.base_logit(f), f.h, y)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.logits(self.features(x), y)
