"""Transforms that change colours only; targets stay the same objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ConfigError
from ..sample import Sample
from .base import TRANSFORMS, chance, check_range, integer, uniform

__all__ = ["ColorJitter", "GaussianBlur", "GaussianNoise", "Grayscale", "RandomErasing"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)


def _share(what: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{what} is {value}; it must lie in 0..1.")


def _like(values: Tensor, pixels: Tensor) -> Tensor:
    """Bring float values on the 0..1 scale back to the type that `pixels` has."""
    values = values.clamp_(0.0, 1.0)
    return values.mul_(255.0).round_().to(torch.uint8) if pixels.dtype == torch.uint8 else values


def _affine(pixels: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """Give clamp(matrix @ rgb + shift) in the type of `pixels`; the shift is on the 0..1 scale."""
    top = 255.0 if pixels.dtype == torch.uint8 else 1.0
    flat = pixels.reshape(3, -1).to(torch.float32)
    out = torch.addmm((shift.float() * top)[:, None], matrix.float(), flat).clamp_(0.0, top)
    if pixels.dtype == torch.uint8:
        out = out.round_().to(torch.uint8)
    return out.reshape(pixels.shape)


@TRANSFORMS.register("color_jitter")
@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue at random, as one linear map of the colours.

    Brightness, contrast and saturation are drawn from [1 - x, 1 + x] and mean what they mean in torchvision; hue is
    drawn from [-x, x] of a full turn. They are applied in this order, clamped once at the end, and hue turns the chroma
    plane of YIQ, whereas torchvision clamps after each, shuffles the order and turns HSV: about ten times the cost for
    the same purpose.

    Args:
        brightness, contrast, saturation: Half-width of the range around 1, 0..1.
        hue: Half-width in turns, 0..0.5.
        p: Probability that the image is changed at all.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.05
    p: float = 1.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation", "p"):
            _share(f"color_jitter: {name}", getattr(self, name))
        if not 0.0 <= self.hue <= 0.5:
            raise ConfigError(f"color_jitter: hue is {self.hue}; it must lie in 0..0.5 turns.")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        applied = chance(generator, self.p)
        b = uniform(generator, 1 - self.brightness, 1 + self.brightness)
        c = uniform(generator, 1 - self.contrast, 1 + self.contrast)
        s = uniform(generator, 1 - self.saturation, 1 + self.saturation)
        h = uniform(generator, -self.hue, self.hue)
        if not applied:
            return sample
        top = 255.0 if sample.pixels.dtype == torch.uint8 else 1.0
        mean = sample.pixels.reshape(3, -1).to(torch.float32).mean(1).double() / top
        luma = torch.tensor(_LUMA, dtype=torch.float64)
        grey = (1 - c) * b * (luma @ mean)  # contrast moves towards the mean luma of the brightened image
        colour = s * torch.eye(3, dtype=torch.float64) + (1 - s) * luma.expand(3, 3)
        angle = 2 * math.pi * h
        turn = torch.eye(3, dtype=torch.float64)
        turn[1:, 1:] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        colour = torch.linalg.solve(_TO_YIQ, turn @ _TO_YIQ) @ colour
        shift = colour @ (grey * torch.ones(3, dtype=torch.float64))
        return sample.replace(image=_affine(sample.pixels, colour * (b * c), shift))


@TRANSFORMS.register("grayscale")
@dataclass(frozen=True)
class Grayscale:
    """Replace the colours by their luma (BT.601), in three equal channels.

    Args:
        p: Probability.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _share("grayscale: p", self.p)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if not chance(generator, self.p):
            return sample
        return sample.replace(image=_affine(sample.pixels, torch.tensor(_LUMA).expand(3, 3), torch.zeros(3)))


@TRANSFORMS.register("gaussian_blur")
@dataclass(frozen=True)
class GaussianBlur:
    """Blur with a Gaussian of random width, edges mirrored.

    Args:
        sigma: Range of the standard deviation, in pixels.
        p: Probability.
    """

    sigma: Sequence[float] = (0.1, 2.0)
    p: float = 0.2

    def __post_init__(self) -> None:
        check_range("gaussian_blur: sigma", self.sigma, 1e-3, 50.0)
        _share("gaussian_blur: p", self.p)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        applied = chance(generator, self.p)
        sigma = uniform(generator, *self.sigma)
        if not applied:
            return sample
        radius = min(math.ceil(3 * sigma), min(sample.size) - 1)
        at = torch.arange(-radius, radius + 1, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (at / sigma) ** 2)
        kernel /= kernel.sum()
        x = torch.nn.functional.pad(sample.image[:, None], (radius,) * 4, mode="reflect")
        x = torch.nn.functional.conv2d(x, kernel.view(1, 1, 1, -1))
        x = torch.nn.functional.conv2d(x, kernel.view(1, 1, -1, 1))[:, 0]
        return sample.replace(image=_like(x, sample.pixels))


@TRANSFORMS.register("gaussian_noise")
@dataclass(frozen=True)
class GaussianNoise:
    """Add independent Gaussian noise to each value.

    Args:
        sigma: Range of the standard deviation on the 0..1 scale.
        p: Probability.
    """

    sigma: Sequence[float] = (0.0, 0.05)
    p: float = 0.2

    def __post_init__(self) -> None:
        check_range("gaussian_noise: sigma", self.sigma, 0.0, 1.0)
        _share("gaussian_noise: p", self.p)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        applied = chance(generator, self.p)
        sigma = uniform(generator, *self.sigma)
        if not applied:
            return sample
        noise = torch.randn(sample.pixels.shape, generator=generator)
        return sample.replace(image=_like(sample.image + sigma * noise, sample.pixels))


@TRANSFORMS.register("random_erasing")
@dataclass(frozen=True)
class RandomErasing:
    """Cover a random rectangle with noise; targets are kept, so the model must guess what is covered.

    Args:
        p: Probability.
        scale: Range of the rectangle's share of the image.
        ratio: Range of its aspect, width / height.
    Source: Zhong et al. 2020, arXiv:1708.04896, algorithm 1 (evenly distributed noise per value).
    """

    p: float = 0.25
    scale: Sequence[float] = (0.02, 0.33)
    ratio: Sequence[float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        _share("random_erasing: p", self.p)
        check_range("random_erasing: scale", self.scale, 0.0, 1.0)
        check_range("random_erasing: ratio", self.ratio, 1e-2, 1e2)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if not chance(generator, self.p):
            return sample
        height, width = sample.size
        area = height * width * uniform(generator, *self.scale)
        ratio = math.exp(uniform(generator, math.log(self.ratio[0]), math.log(self.ratio[1])))
        h = min(height, max(1, round(math.sqrt(area / ratio))))
        w = min(width, max(1, round(math.sqrt(area * ratio))))
        top, left = integer(generator, 0, height - h), integer(generator, 0, width - w)
        pixels = sample.pixels.clone()
        noise = torch.randint(0, 256, (3, h, w), generator=generator, dtype=torch.uint8)
        pixels[:, top : top + h, left : left + w] = noise if pixels.dtype == torch.uint8 else noise / 255.0
        return sample.replace(image=pixels)
