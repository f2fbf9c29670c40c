"""Metric depth from list files: lines "IMAGE DEPTH" or "IMAGE<tab>DEPTH", the depth a 16-bit PNG."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from ...errors import ConfigError, DataError
from ...structures import DepthMap
from ..sample import Sample
from ..source import READERS
from .files import read_ids, read_list, read_pixels, require_folder

__all__ = ["DepthPairs"]

MILLIMETRES = 1000.0  # counts per metre
_LARGEST = 65535  # of 16 bits


class DepthPairs:
    """Images with the distance along the optical axis for each pixel, 0 where it was not measured.

    Args:
        path: The set's folder; the paths in the list are relative to it.
        split: Name of the list file SPLIT.txt with lines "IMAGE DEPTH"; where names hold spaces, with a tab between.
        name: Name of the source; the head is "depth" for every set, since all hold metres.
        scale: PNG counts per metre: 1000 for millimetres, 256 for KITTI's own files, 5000 for TUM RGB-D.
        max_depth: Readings beyond so many metres count as missing.
    Attributes:
        deepest: Metres that the largest number of 16 bits stands for; cameras also write it where they saw nothing.
    Raises:
        ConfigError: A scale or limit that is not above 0.
        DataError: Missing folders or files, or a line that is not a pair.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "",
        scale: float = MILLIMETRES,
        max_depth: float = math.inf,
    ) -> None:
        if not all(isinstance(value, (int, float)) and value > 0 for value in (scale, max_depth)):
            raise ConfigError(f"depth: scale is {scale!r} and max_depth {max_depth!r}; both are numbers above 0.")
        self.base = require_folder(path, "depth")
        self.name = name or self.base.name
        self.heads, self.classes = {"depth": "depth"}, {"depth": ()}
        self.scale, self.max_depth = float(scale), float(max_depth)
        self.deepest = _LARGEST / self.scale
        self.pairs: list[tuple[str, str]] = []
        for line in read_list(self.base / f"{split}.txt", f"depth set {self.base}"):
            tabbed, parts = [part.strip() for part in line.split("\t") if part.strip()], line.split()
            if len(tabbed) > 1 and all((self.base / file).is_file() for file in tabbed[:2]):
                parts = tabbed  # else the tab is one more space
            # KITTI's own lists carry the focal length as a third column.
            if len(parts) not in (2, 3):
                raise DataError(
                    f"depth list {self.base / f'{split}.txt'} has the line '{line}'; write 'IMAGE DEPTH' per line, "
                    "with a tab between them where names hold spaces."
                )
            self.pairs.append((parts[0], parts[1]))
        for image, depth in self.pairs:
            for file in (image, depth):
                if not (self.base / file).is_file():
                    raise DataError(
                        f"depth set {self.base}: split '{split}' names {file}, which is missing; "
                        "add it or drop the line, or write a tab between IMAGE and DEPTH where names hold spaces."
                    )
        if not self.pairs:
            raise DataError(f"depth set {self.base} has 0 pairs in split '{split}'; its list names none.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        image, depth = self.pairs[index]
        metres = read_ids(self.base / depth, is_deep=self.scale == MILLIMETRES).astype(np.float32) / self.scale
        metres[metres > self.max_depth] = 0.0
        target = DepthMap(torch.from_numpy(metres))
        return Sample(
            read_pixels(self.base / image), {"depth": target}, {"id": Path(image).stem, "path": str(self.base / image)}
        )


READERS.register("depth")(DepthPairs)
