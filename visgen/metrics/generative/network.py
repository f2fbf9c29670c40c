"""The network through whose eyes generated images are measured: named, hashed, and given as an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import DataError

__all__ = ["FeatureNetwork", "Seen", "stack_pixels"]


@dataclass(frozen=True)
class Seen:
    """What a feature network saw in a set of images.

    Attributes:
        features: (N, D) float32, on the CPU.
        probabilities: (N, K) of its classes, where it names them; else None.
    """

    features: Tensor
    probabilities: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)


def stack_pixels(samples: Iterable[Any]) -> Tensor:
    """Stack the pictures of samples of one size as uint8 (N, 3, H, W); those held as floats are rounded."""
    stacked = [s.pixels if s.pixels.dtype == torch.uint8 else (s.pixels * 255).round().to(torch.uint8) for s in samples]
    if not stacked or len({tuple(p.shape) for p in stacked}) > 1:
        raise DataError(
            f"{len(stacked)} pictures of sizes {sorted({tuple(p.shape[1:]) for p in stacked})[:3]} cannot be stacked; "
            "give one or more, all of one size."
        )
    return torch.stack(stacked)


@dataclass(frozen=True)
class FeatureNetwork:
    """A frozen network with all that a distance through it depends on.

    Images of both sides are brought to `size` in the same way; without these facts two distances cannot be compared.
    It must not be a network that a discriminator uses.

    Attributes:
        name: Short name; distances are called FD-<name> and KD-<name>.
        look: Called with images (B, 3, size, size) float32 in [0, 1]; gives features (B, D), or these and logits
            (B, K).
        sha256: Of its weights.
        size: Side in pixels of what it is given.
        filter: "bicubic" or "bilinear", always with antialias.
    """

    name: str
    look: Callable[[Tensor], Any]
    sha256: str
    size: int
    filter: str = "bicubic"

    def __post_init__(self) -> None:
        if self.filter not in ("bicubic", "bilinear") or self.size < 8 or not self.name:
            raise DataError(
                f"feature network '{self.name}' has filter '{self.filter}' and size {self.size}; use bicubic or "
                "bilinear, 8 pixels or more, and a name."
            )

    def resize(self, images: Tensor) -> Tensor:
        """Bring uint8 images (B, 3, H, W) to (B, 3, size, size) in [0, 1]; of the right size already, only scale."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise DataError(
                f"images to measure are {tuple(images.shape)} {images.dtype}; give uint8 (B, 3, H, W) on both sides, "
                "so that generated images are rounded like stored ones."
            )
        scaled = images.float() / 255
        if images.shape[-2:] != (self.size, self.size):
            size = (self.size, self.size)
            scaled = F.interpolate(scaled, size=size, mode=self.filter, antialias=True, align_corners=False)
        return scaled.clamp_(0, 1)

    @torch.no_grad()
    def see(self, batches: Tensor | Iterable[Tensor], batch_size: int = 32) -> Seen:
        """Look at uint8 images (N, 3, H, W), or at batches of them."""
        parts = batches.split(batch_size) if isinstance(batches, Tensor) else batches
        features: list[Tensor] = []
        probabilities: list[Tensor] = []
        for part in parts:
            found = self.look(self.resize(part))
            vector, logits = found if isinstance(found, tuple) else (found, None)
            features.append(vector.float().cpu())
            if logits is not None:
                probabilities.append(logits.float().softmax(1).cpu())
        if not features:
            raise DataError(f"feature network '{self.name}' was given 0 images; give some.")
        return Seen(torch.cat(features), torch.cat(probabilities) if probabilities else None)

    def protocol(self) -> dict[str, Any]:
        """Give the facts that belong into a record beside the figures."""
        return {"network": self.name, "sha256": self.sha256, "size": self.size, "filter": f"{self.filter}, antialias"}
