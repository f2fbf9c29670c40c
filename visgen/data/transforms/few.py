"""A transform whose chance has only a few outcomes for each sample, so that what follows can be remembered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import ConfigError
from ..sample import Sample
from .base import integer

__all__ = ["OfFew"]


@dataclass(frozen=True)
class OfFew:
    """Draw one of `count` outcomes of a transform, the same ones each time the same sample comes.

    A backbone that stays as it is then sees each picture in `count` ways only, and a cache of what it gives pays off.

    Args:
        transform: Any transform.
        count: Outcomes of each sample (by `meta["id"]`), 1 or more.
    """

    transform: Any
    count: int = 4

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"of_few: count is {self.count}; it must be 1 or more.")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        key = f"{sample.meta.get('id')}/{integer(generator, 0, self.count - 1)}"
        seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=7).digest(), "little")
        done: Sample = self.transform(sample, torch.Generator().manual_seed(seed))
        return done
