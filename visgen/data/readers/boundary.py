"""Boundaries that people drew: images/STEM.jpg, boundaries/STEM.png (255 times the share of people), SPLIT.txt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError, DataError
from ...structures import IGNORE, SemanticMap
from ..sample import Sample
from ..source import READERS
from .files import IMAGE_SUFFIXES, read_ids, read_list, read_pixels, require_folder

__all__ = ["Boundaries"]

NAMES = ("background", "boundary")


class Boundaries:
    """Images with a map of boundary, background and, where few people saw one, 255.

    Args:
        path: The set's folder.
        split: Name of the list file SPLIT.txt with one stem per line.
        agreed: Least share of people who marked a boundary pixel, in (0, 1]; pixels that somebody marked but fewer
            than that are 255.
    Raises:
        ConfigError: `agreed` is out of range.
        DataError: Missing folders or files, or a list that names none.
    """

    def __init__(self, path: str | Path, split: str = "train", *, agreed: float = 0.3) -> None:
        if not 0 < agreed <= 1:
            raise ConfigError(f"boundary: agreed is {agreed}; it is a share of people in (0, 1].")
        self.base, self.agreed = require_folder(path, "boundary"), agreed
        self.name = self.base.name
        self.heads = {"segmentation": "segmentation.boundary"}
        self.classes = {"segmentation": NAMES}
        images = {
            p.stem: p
            for p in require_folder(self.base / "images", "boundary").iterdir()
            if p.suffix.lower() in IMAGE_SUFFIXES
        }
        maps = require_folder(self.base / "boundaries", "boundary")
        self.stems = read_list(self.base / f"{split}.txt", f"boundary set {self.base}")
        for stem in self.stems:
            if stem not in images or not (maps / f"{stem}.png").is_file():
                raise DataError(f"boundary set {self.base}: '{stem}' of split '{split}' lacks its image or its map.")
        if not self.stems:
            raise DataError(f"boundary set {self.base} has 0 images in split '{split}'; its list names none.")
        self.images = images

    def __len__(self) -> int:
        return len(self.stems)

    def share(self, index: int) -> Tensor:
        """Give the share of people who marked each pixel (H, W), in [0, 1]."""
        counts = read_ids(self.base / "boundaries" / f"{self.stems[index]}.png", is_grey=True)
        return torch.from_numpy(counts.astype(np.float32) / 255)

    def __getitem__(self, index: int) -> Sample:
        path, share = self.images[self.stems[index]], self.share(index)
        ids = torch.where(share >= self.agreed, 1, torch.where(share > 0, IGNORE, 0))
        target = SemanticMap(ids, NAMES, name="boundary")
        return Sample(read_pixels(path), {"segmentation": target}, {"id": path.stem, "path": str(path)})


READERS.register("boundary")(Boundaries)
