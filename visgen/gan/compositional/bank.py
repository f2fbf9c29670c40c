"""Real regions by class, from training pictures only, to show a generator what a class looks like."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError, DataError

__all__ = ["FeatureBank"]

FALLBACK = 0.1  # standard deviation of what is given for a class without regions


class FeatureBank:
    """At most `most` regions of each class in half precision, an even draw of all that were added.

    Args:
        classes: Number K of classes.
        shape: (C, s, s) of a region.
        most: Regions kept of each class.
        folder: Keep them in a file there, for more than fits into memory; None keeps them in memory.
    """

    def __init__(
        self, classes: int, shape: tuple[int, int, int], most: int = 500, folder: str | Path | None = None
    ) -> None:
        if classes < 1 or most < 1:
            raise ConfigError(
                f"a feature bank has {classes} classes and keeps {most} regions of each; both must be 1 or more."
            )
        self.classes, self.shape, self.most = classes, tuple(shape), most
        size = (classes, most, *self.shape)
        if folder is None:
            self._kept: np.ndarray = np.zeros(size, np.float16)
        else:
            self._file = tempfile.NamedTemporaryFile(dir=folder, suffix=".f16")  # noqa: SIM115  (gone with the bank)
            self._kept = np.memmap(self._file.name, np.float16, "w+", shape=size)
        self._ids: list[list[str]] = [[] for _ in range(classes)]
        self.seen = [0] * classes

    def __len__(self) -> int:
        return sum(map(len, self._ids))

    def add(self, ids: Sequence[str], labels: Tensor, tiles: Tensor, generator: torch.Generator) -> None:
        """Add regions (n, C, s, s) of classes `labels` (n,); `ids` names the picture of each.

        Source: Vitter 1985, "Random Sampling with a Reservoir", algorithm R.
        """
        if len(ids) != len(labels) or tuple(tiles.shape) != (len(labels), *self.shape):
            raise DataError(
                f"{len(ids)} ids, {len(labels)} labels and regions {tuple(tiles.shape)} do not fit a bank of "
                f"{self.shape}."
            )
        values = tiles.detach().cpu().numpy().astype(np.float16)
        for name, label, value in zip(ids, labels.tolist(), values, strict=True):
            self.seen[label] += 1
            place = len(self._ids[label])
            if place < self.most:
                self._ids[label].append(name)
            else:
                place = int(torch.randint(self.seen[label], (), generator=generator))
                if place >= self.most:
                    continue
                self._ids[label][place] = name
            self._kept[label, place] = value

    def draw(self, labels: Tensor, ids: Sequence[str], generator: torch.Generator) -> Tensor:
        """Give a random region (n, C, s, s) float32 of each class `labels` (n,), never one of the picture `ids` names.

        A class of which no other picture has a region gets small noise.
        """
        found = torch.empty(len(labels), *self.shape)
        for row, (label, own) in enumerate(zip(labels.tolist(), ids, strict=True)):
            known = self._ids[label]
            place = int(torch.randint(len(known), (), generator=generator)) if known else 0
            for _ in known:  # regions of one picture lie side by side, so that a few steps lead out of it
                if known[place] != own:
                    break
                place = (place + 1) % len(known)
            if known and known[place] != own:
                found[row] = torch.from_numpy(self._kept[label, place].astype(np.float32))
            else:
                found[row] = FALLBACK * torch.randn(self.shape, generator=generator)
        return found

    def ids(self) -> set[str]:
        """Give the names of all pictures that have a region here."""
        return {name for names in self._ids for name in names}

    def fill(self, regions: Iterable[tuple[Sequence[str], Tensor, Tensor]], generator: torch.Generator) -> FeatureBank:
        """Add all (ids, labels, tiles); gives itself."""
        for ids, labels, tiles in regions:
            self.add(ids, labels, tiles, generator)
        return self
