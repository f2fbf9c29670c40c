"""Put samples of one source into a batch, padding where their sizes differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from .sample import Sample
from .transforms.geometry import Window, apply_window

__all__ = ["Batch", "collate"]


@dataclass(frozen=True)
class Batch:
    """Images of one source with their targets.

    Args:
        images: (B, 3, H, W) float32 in [0, 1].
        targets: Task key to one typed value per image; None for an image without that target.
        heads: Task key to the name of the head that learns it.
        meta: Per image; "size" is its (height, width) before padding.
        source: Name of the source or mixture part.
    """

    images: Tensor
    targets: dict[str, list[Any]]
    heads: dict[str, str]
    meta: list[dict[str, Any]] = field(default_factory=list)
    source: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Batch:
        """Give the batch with images and targets on a device."""
        if self.images.device == torch.device(device):
            return self
        moved = {key: [v.to(device) if hasattr(v, "to") else v for v in values] for key, values in self.targets.items()}
        return replace(self, images=self.images.to(device, non_blocking=True), targets=moved)


def collate(samples: Sequence[Sample], heads: Mapping[str, str], source: str) -> Batch:
    """Stack samples.

    Where sizes differ, each is padded at the right and the bottom to the largest height and width: image black,
    semantic ids 255, depth 0, masks empty; box coordinates stay.

    Args:
        samples: At least one.
        heads: Task key to head name, as the source states it.
        source: Name for logs.
    Raises:
        DataError: No sample.
    """
    if not samples:
        raise DataError(f"a batch of source '{source}' has 0 samples; give at least one.")
    sizes = [sample.size for sample in samples]
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    padded = [s if s.size == (height, width) else apply_window(s, Window.crop(0, 0, height, width)) for s in samples]
    if all(s.pixels.dtype == torch.uint8 for s in padded):
        # One conversion for the whole batch, from a contiguous stack.
        stacked = torch.stack([s.pixels.contiguous() for s in padded])
        images = stacked.to(torch.float32).div_(255.0)
    else:
        images = torch.stack([s.image.contiguous() for s in padded])
    keys = list(dict.fromkeys(key for s in padded for key in s.targets))
    targets = {key: [s.targets.get(key) for s in padded] for key in keys}
    meta = [{**s.meta, "size": size} for s, size in zip(padded, sizes, strict=True)]
    return Batch(images, targets, dict(heads), meta, source)
