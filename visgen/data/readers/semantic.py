"""Semantic segmentation from PNG maps: images/STEM.jpg, semantic/STEM.png, classes.txt and SPLIT.txt with the stems."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError, DataError, nearest
from ...structures import IGNORE, SemanticMap
from ..sample import Sample
from ..source import READERS
from .files import IMAGE_SUFFIXES, read_classes, read_ids, read_list, read_pixels, require_folder

__all__ = ["SemanticFolder", "read_semantic_ids"]


def read_semantic_ids(path: Path, classes: Sequence[str], zero_is_ignored: bool = False) -> Tensor:
    """Read a map of class ids (H, W) int64 in which 255 is ignored.

    Args:
        path: Grey or palette PNG.
        classes: Their number bounds the ids.
        zero_is_ignored: Ids start at 1 and 0 is unlabelled (ADE20K): subtract 1 and turn 0 into 255.
    Raises:
        DataError: The file cannot be read, or holds an id outside the classes; the message names both.
    """
    ids, first = read_ids(path), int(zero_is_ignored)
    ignored = (ids == IGNORE) | (ids < first) & (ids == 0)
    last = len(classes) - 1 + first
    wrong = ids[((ids < first) | (ids > last) | (ids - first == IGNORE)) & ~ignored]
    if wrong.size:
        raise DataError(
            f"map {path} holds id {int(wrong.flat[0])}, but its {len(classes)} classes are "
            f"{first}..{last} and {'0 and 255 are' if first else '255 is'} ignored; fix the map or classes.txt "
            "(zero_is_ignored=true where ids start at 1)."
        )
    ids = np.where(ignored, IGNORE, ids - first)
    return torch.from_numpy(ids.astype(np.int64))


class SemanticFolder:
    """Images with a class for every pixel.

    Args:
        path: The set's folder.
        split: Name of the list file SPLIT.txt with one stem per line; "all" takes every map in the folder.
        name: Label set; the head is "segmentation.NAME". By default the name of the set's folder.
        maps: Folder of the maps ("semantic", or such as "semantic_stuff").
        class_file: File of the class names, one per line, line number = id.
        zero_is_ignored: Ids start at 1 and 0 is unlabelled (ADE20K).
        only, without: Glob patterns of stems to keep or to leave out, such as one sequence of a video ("0006R0_*").
        held_out: Classes that are to stay unknown: their pixels are ignored, and the label set is that of the others,
            numbered anew in the same order.
    Raises:
        ConfigError: A class to hold out is not one of the set, or fewer than two are left.
        DataError: Missing folders or files, a stem in the list without image or map, or no stem left.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "",
        maps: str = "semantic",
        class_file: str = "classes.txt",
        zero_is_ignored: bool = False,
        only: str = "",
        without: str = "",
        held_out: Sequence[str] = (),
    ) -> None:
        base = require_folder(path, "semantic")
        self.name = name or base.name
        self.heads = {"segmentation": f"segmentation.{self.name}"}
        self.all_classes = read_classes(base / class_file)
        self.held_out = _check_held_out(held_out, self.all_classes)
        self.classes = {"segmentation": tuple(c for c in self.all_classes if c not in self.held_out)}
        self.zero_is_ignored = zero_is_ignored
        self.base, self.maps = base, require_folder(base / maps, "semantic")
        images = {
            p.stem: p.name
            for p in require_folder(base / "images", "semantic").iterdir()
            if p.suffix.lower() in IMAGE_SUFFIXES
        }
        labelled = {p.stem for p in self.maps.glob("*.png")}
        self.stems = sorted(labelled) if split == "all" else read_list(base / f"{split}.txt", f"semantic set {base}")
        self.stems = [s for s in self.stems if fnmatchcase(s, only or "*") and not fnmatchcase(s, without)]
        for stem in self.stems:
            if stem not in images or stem not in labelled:
                place = "image in images/" if stem not in images else f"map in {maps}/"
                raise DataError(
                    f"semantic set {base}: '{stem}' of split '{split}' has no {place}; add the file or drop the line."
                )
        if not self.stems:
            raise DataError(f"semantic set {base} has 0 images in split '{split}'; its list names none that fits.")
        self.images = [images[stem] for stem in self.stems]

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> Sample:
        stem, path = self.stems[index], self.base / "images" / self.images[index]
        names = self.classes["segmentation"]
        ids = read_semantic_ids(self.maps / f"{stem}.png", self.all_classes, self.zero_is_ignored)
        if self.held_out:
            table = torch.full((IGNORE + 1,), IGNORE, dtype=torch.int64)
            table[: len(self.all_classes)] = torch.tensor(
                [names.index(c) if c in names else IGNORE for c in self.all_classes]
            )
            ids = table[ids]
        target = SemanticMap(ids, names, name=self.name)
        return Sample(read_pixels(path), {"segmentation": target}, {"id": stem, "path": str(path)})


def _check_held_out(held_out: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    held_out = (held_out,) if isinstance(held_out, str) else held_out
    for name in held_out:
        if name not in classes:
            raise ConfigError(
                f"class '{name}' to hold out is not known{nearest(name, classes)} The set has {', '.join(classes)}."
            )
    if held_out and len(classes) - len(set(held_out)) < 2:
        raise ConfigError(f"{len(set(held_out))} of {len(classes)} classes are held out; leave two or more.")
    return tuple(held_out)


READERS.register("semantic")(SemanticFolder)
