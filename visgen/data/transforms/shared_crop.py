"""One random window for the two pictures of an unpaired sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ...errors import ConfigError, DataError
from ..sample import Sample
from .base import TRANSFORMS, check_range, integer, uniform
from .geometry import Window, apply_window

__all__ = ["SharedCrop"]


@TRANSFORMS.register("shared_crop")
@dataclass(frozen=True)
class SharedCrop:
    """Cut one square window out of the image, its other targets, and `targets["other"]`, and resize them.

    Args:
        size: Side of the result in pixels.
        scale: Range of the factor that the window is resized by; the window's side is size / factor, cut to what the
            smaller picture has.
    Source: the crops of Mohwald et al. 2023, arXiv:2309.16351, their code.
    """

    size: int
    scale: tuple[float, float] = (0.8, 1.0)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"shared_crop: size is {self.size}; it must be 1 or more.")
        check_range("shared_crop: scale", self.scale, 1e-3, 1e3)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        other = sample.targets.get("other")
        if other is None:
            raise DataError("shared_crop needs a second picture under targets['other'], as format unpaired gives it.")
        height = min(sample.size[0], int(other.shape[1]))
        width = min(sample.size[1], int(other.shape[2]))
        side = min(math.ceil(self.size / uniform(generator, *self.scale)), height, width)
        top, left = integer(generator, 0, height - side), integer(generator, 0, width - side)
        window = Window(top, left, side, side, self.size, self.size)
        rest = {key: value for key, value in sample.targets.items() if key != "other"}
        first, second = (apply_window(s, window) for s in (sample.replace(targets=rest), Sample(other)))
        return first.replace(targets={**first.targets, "other": second.pixels})
