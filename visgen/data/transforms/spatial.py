"""Transforms that move pixels: resize, crop, pad, flip, rescale and rotate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...errors import ConfigError
from ..sample import Sample
from .base import TRANSFORMS, chance, check_range, integer, uniform
from .geometry import Window, apply_window, scale_depth

__all__ = [
    "CenterCrop",
    "HorizontalFlip",
    "Pad",
    "RandomCrop",
    "RandomResizedCrop",
    "Rescale",
    "Resize",
]


def _pair(what: str, size: int | Sequence[int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(s, int) and s >= 1 for s in pair):
        raise ConfigError(f"{what} is {size}; it must be one whole number or [height, width], each at least 1.")
    return pair


def _check_share(what: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{what} is {value}; it must lie in 0..1.")


@TRANSFORMS.register("resize")
@dataclass(frozen=True)
class Resize:
    """Resize the whole image; depth keeps its metres.

    Args:
        size: A whole number for the short side (the aspect stays), or [height, width] exactly.
        max_size: With a short side: the long side's limit; the short side then shrinks further.
    """

    size: int | Sequence[int]
    max_size: int | None = None

    def __post_init__(self) -> None:
        _pair("resize: size", self.size)
        if self.max_size is not None and self.max_size < 1:
            raise ConfigError(f"resize: max_size is {self.max_size}; it must be at least 1.")
        if self.max_size is not None and not isinstance(self.size, int):
            raise ConfigError(
                f"resize: max_size {self.max_size} goes with a short side, but size is {self.size}; drop one."
            )

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        height, width = sample.size
        if isinstance(self.size, int):
            factor = self.size / min(height, width)
            if self.max_size is not None:
                factor = min(factor, self.max_size / max(height, width))
            out = max(1, round(height * factor)), max(1, round(width * factor))
        else:
            out = _pair("resize: size", self.size)
        return sample if out == (height, width) else apply_window(sample, Window.resize((height, width), *out))


@TRANSFORMS.register("random_resized_crop")
@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut a random part of the image and resize it to a fixed size.

    Args:
        size: [height, width] of the output, or one number for a square.
        scale: Range of the crop's share of the image area.
        ratio: Range of the crop's aspect (width / height) relative to that of `size`: 1 does not distort. (torchvision
            gives the aspect itself; for a square output the two are the same.)
        depth_scale: Divide metric depth by the zoom sqrt(image area / crop area), as a camera of the same field of view
            would see it from nearer. A crop of the whole image has zoom 1, so metres agree with those of a plain
            `resize`.
        min_visible: Drop boxes of which less than this share of the area is left.
    """

    size: int | Sequence[int]
    scale: Sequence[float] = (0.3, 1.0)
    ratio: Sequence[float] = (3 / 4, 4 / 3)
    depth_scale: bool = False
    min_visible: float = 0.0

    def __post_init__(self) -> None:
        _pair("random_resized_crop: size", self.size)
        check_range("random_resized_crop: scale", self.scale, 1e-6, 1.0)
        check_range("random_resized_crop: ratio", self.ratio, 1e-3, 1e3)
        _check_share("random_resized_crop: min_visible", self.min_visible)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        out = _pair("size", self.size)
        height, width = sample.size
        top, left, h, w = self._rectangle(height, width, out[1] / out[0], generator)
        result = apply_window(sample, Window(top, left, h, w, *out), self.min_visible)
        return scale_depth(result, math.sqrt(height * width / (h * w))) if self.depth_scale else result

    def _rectangle(
        self, height: int, width: int, aspect: float, generator: torch.Generator
    ) -> tuple[int, int, int, int]:
        for _ in range(10):
            area = height * width * uniform(generator, *self.scale)
            ratio = aspect * math.exp(uniform(generator, math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 1 <= w <= width and 1 <= h <= height:
                return integer(generator, 0, height - h), integer(generator, 0, width - w), h, w
        # Too extreme for this image: the largest centred part of the output's aspect.
        w, h = (
            (width, max(1, round(width / aspect)))
            if width / height < aspect
            else (max(1, round(height * aspect)), height)
        )
        return (height - h) // 2, (width - w) // 2, h, w


@TRANSFORMS.register("random_crop")
@dataclass(frozen=True)
class RandomCrop:
    """Cut a part of fixed size at a random place; smaller images are padded (right and bottom) first.

    Args:
        size: [height, width] or one number.
        padding: Pixels of black border that the crop may take in on each side (4 is usual for 32 px images).
        min_visible: Drop boxes of which less than this share of the area is left.
    """

    size: int | Sequence[int]
    padding: int = 0
    min_visible: float = 0.0

    def __post_init__(self) -> None:
        _pair("random_crop: size", self.size)
        _check_share("random_crop: min_visible", self.min_visible)
        if self.padding < 0:
            raise ConfigError(f"random_crop: padding is {self.padding}; it must be at least 0.")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        h, w = _pair("size", self.size)
        height, width = sample.size
        top = integer(generator, -self.padding, max(height - h, 0) + self.padding)
        left = integer(generator, -self.padding, max(width - w, 0) + self.padding)
        return apply_window(sample, Window.crop(top, left, h, w), self.min_visible)


@TRANSFORMS.register("center_crop")
@dataclass(frozen=True)
class CenterCrop:
    """Cut the middle part of fixed size; smaller images get a black border on both sides.

    Args:
        size: [height, width] or one number.
    """

    size: int | Sequence[int]

    def __post_init__(self) -> None:
        _pair("center_crop: size", self.size)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        h, w = _pair("size", self.size)
        height, width = sample.size
        return apply_window(sample, Window.crop((height - h) // 2, (width - w) // 2, h, w))


@TRANSFORMS.register("pad")
@dataclass(frozen=True)
class Pad:
    """Pad right and bottom, to a size or to a multiple: image black, ids 255, depth 0.

    Args:
        size: [height, width] or one number that the output has at least.
        multiple: Both sides of the output are multiples of it.
    """

    size: int | Sequence[int] = 1
    multiple: int = 1

    def __post_init__(self) -> None:
        _pair("pad: size", self.size)
        if self.multiple < 1:
            raise ConfigError(f"pad: multiple is {self.multiple}; it must be at least 1.")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        low = _pair("size", self.size)
        h, w = (
            math.ceil(max(have, need) / self.multiple) * self.multiple
            for have, need in zip(sample.size, low, strict=True)
        )
        return sample if (h, w) == sample.size else apply_window(sample, Window.crop(0, 0, h, w))


@TRANSFORMS.register("horizontal_flip")
@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left and right, in the names of classes and predicates, too (see `apply_window`).

    Args:
        p: Probability.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        _check_share("horizontal_flip: p", self.p)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if not chance(generator, self.p):
            return sample
        height, width = sample.size
        return apply_window(sample, Window(0, 0, height, width, height, width, flip=True))


@TRANSFORMS.register("rescale")
@dataclass(frozen=True)
class Rescale:
    """Enlarge or shrink the whole image by a random factor, keeping its aspect; a crop to a fixed size should follow.

    Args:
        scale: Range of the factor, drawn evenly in its logarithm.
        depth_scale: Divide metric depth by the factor: with the focal length in pixels held fixed, an image enlarged
            twice is the same scene from half as far.
    """

    scale: Sequence[float] = (0.5, 2.0)
    depth_scale: bool = False

    def __post_init__(self) -> None:
        check_range("rescale: scale", self.scale, 1e-2, 1e2)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        factor = math.exp(uniform(generator, math.log(self.scale[0]), math.log(self.scale[1])))
        height, width = sample.size
        out = max(1, round(height * factor)), max(1, round(width * factor))
        result = apply_window(sample, Window.resize((height, width), *out))
        # The factor that was reached after rounding to whole pixels, so that a drawn 1 leaves depth alone.
        return scale_depth(result, math.sqrt(out[0] * out[1] / (height * width))) if self.depth_scale else result
