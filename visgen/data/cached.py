"""Keep decoded samples in memory, so that epochs after the first cost no decoding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..structures import Masks, SemanticMap
from .sample import Sample
from .source import Source

__all__ = ["Cached"]


class Cached:
    """A source that decodes each sample once and then hands it out from memory.

    Images stay as uint8, ids as one byte and masks as one bit per pixel, depth as float32; the samples handed out are
    equal to those of the source (bit for bit where its images are uint8, as all readers give).

    Args:
        source: Any source whose samples fit into memory; `nbytes` tells how much they take so far.
        shrink: A fixed function applied before storing, such as a resize to the size that training needs.
    """

    def __init__(self, source: Source, shrink: Callable[[Sample], Sample] | None = None) -> None:
        self.source, self.shrink = source, shrink
        self.name, self.heads, self.classes = source.name, dict(source.heads), dict(source.classes)
        self._stored: dict[int, tuple[Tensor, dict[str, Any], dict[str, Any]]] = {}
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if index not in self._stored:
            sample = self.source[index]
            if self.shrink is not None:
                sample = self.shrink(sample)
            targets = {key: _pack(value) for key, value in sample.targets.items()}
            self._stored[index] = (sample.pixels, targets, sample.meta)
            self.nbytes += sample.pixels.nbytes + sum(map(_bytes, targets.values()))
        pixels, targets, meta = self._stored[index]
        return Sample(pixels, {key: _unpack(value) for key, value in targets.items()}, meta)

    def preload(self) -> Cached:
        """Decode everything now (before worker processes start, so that they share the memory); gives itself."""
        for index in range(len(self)):
            self[index]
        return self


@dataclass(frozen=True)
class _PackedIds:
    """A semantic map with one byte per pixel."""

    ids: Tensor
    classes: tuple[str, ...]
    name: str

    def unpack(self) -> SemanticMap:
        return SemanticMap(self.ids.long(), self.classes, name=self.name)


@dataclass(frozen=True)
class _PackedMasks:
    """Masks with one bit per pixel."""

    bits: np.ndarray
    shape: tuple[int, ...]
    labels: Tensor
    classes: tuple[str, ...]
    scores: Tensor | None

    def unpack(self) -> Masks:
        flat = np.unpackbits(self.bits, count=math.prod(self.shape)).astype(bool)
        return Masks(torch.from_numpy(flat).reshape(self.shape), self.labels, self.classes, self.scores)


def _pack(value: Any) -> Any:
    if isinstance(value, SemanticMap) and value.confidence is None:
        return _PackedIds(value.ids.to(torch.uint8), value.classes, value.name)
    if isinstance(value, Masks):
        return _PackedMasks(
            np.packbits(value.masks.numpy()), tuple(value.masks.shape), value.labels, value.classes, value.scores
        )
    return value


def _unpack(value: Any) -> Any:
    return value.unpack() if isinstance(value, (_PackedIds, _PackedMasks)) else value


def _bytes(value: Any) -> int:
    fields = (getattr(value, name, None) for name in ("ids", "bits", "metres", "xyxy"))
    return sum(int(field.nbytes) for field in fields if field is not None)
