"""Night without a model: a picture made darker and noisier, which knows no lamps, no sky and no colour of light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ConfigError, DataError
from ..sample import Sample
from .base import TRANSFORMS, chance, check_range, uniform

__all__ = ["ByNight", "Darken"]


@TRANSFORMS.register("darken")
@dataclass(frozen=True)
class Darken:
    """Give gain * value^gamma plus Gaussian noise, all drawn for each picture.

    Args:
        gamma: Range of the exponent on values in [0, 1]; above 1 darkens middle tones most.
        gain: Range of the factor after that.
        noise: Range of the standard deviation of the noise on the 0..1 scale.
        p: Probability that a picture is changed.
    """

    gamma: Sequence[float] = (1.5, 3.0)
    gain: Sequence[float] = (0.2, 0.7)
    noise: Sequence[float] = (0.0, 0.04)
    p: float = 0.25

    def __post_init__(self) -> None:
        check_range("darken: gamma", self.gamma, 1e-2, 10.0)
        check_range("darken: gain", self.gain, 0.0, 1.0)
        check_range("darken: noise", self.noise, 0.0, 1.0)
        if not 0.0 <= self.p <= 1.0:
            raise ConfigError(f"darken: p is {self.p}; it must lie in 0..1.")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        applied = chance(generator, self.p)
        gamma, gain, sigma = (uniform(generator, *pair) for pair in (self.gamma, self.gain, self.noise))
        if not applied:
            return sample
        noise = torch.randn(sample.pixels.shape, generator=generator)
        values = (gain * sample.image**gamma + sigma * noise).clamp_(0.0, 1.0)
        is_bytes = sample.pixels.dtype == torch.uint8
        return sample.replace(image=values.mul_(255.0).round_().to(torch.uint8) if is_bytes else values)


@dataclass(frozen=True)
class ByNight:
    """Show a sample with another picture of the same scene, kept in memory, with probability p; targets stay.

    Args:
        pictures: `meta["id"]` of a sample to its other picture, of the same size and type.
        p: Probability, drawn anew each time.
    Raises:
        DataError: When called: no picture for a sample, or one of another size.
    """

    pictures: Mapping[str, Tensor]
    p: float = 0.25

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if not chance(generator, self.p):
            return sample
        name = str(sample.meta.get("id"))
        picture = self.pictures.get(name)
        if picture is None or picture.shape != sample.pixels.shape:
            found = "none" if picture is None else tuple(picture.shape)
            raise DataError(f"by_night: sample '{name}' is {tuple(sample.pixels.shape)}, its other picture is {found}.")
        return sample.replace(image=picture, meta={**sample.meta, "night": True})
