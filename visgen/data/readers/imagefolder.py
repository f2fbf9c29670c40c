"""Classification from folders: PATH/SPLIT/CLASS/*.jpg, or PATH/CLASS/*.jpg for a set without splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError, nearest
from ...structures import ClassLabel
from ..sample import Sample
from ..source import READERS, MissingSplit
from .files import IMAGE_SUFFIXES, check_names, pictures_below, read_pixels, require_folder

__all__ = ["ImageFolder"]


class ImageFolder:
    """Images whose folder is their class.

    Args:
        path: The set's folder.
        split: Its folder inside the path; "" or "all" for a set without splits.
        classes: Fixed class names in their order; a class without a folder has no image. By default the sorted folders,
            or those of the split "train" where it has all of them: a small val part may lack a class.
        name: Label set; the head is "classification.NAME". By default the name of the set's folder.
    Raises:
        DataError: A missing folder, no image, or a folder that is not one of the fixed classes.
    """

    def __init__(
        self, path: str | Path, split: str = "train", *, classes: Sequence[str] | None = None, name: str = ""
    ) -> None:
        base = require_folder(path, "imagefolder")
        folder = base if split in ("", "all") else base / split
        if not folder.is_dir():
            there = ", ".join(sorted(p.name for p in base.iterdir() if p.is_dir())[:20])
            raise MissingSplit(
                f"imagefolder {base} has no split '{split}'; folders there: {there or 'none'} "
                "(split 'all' reads them as classes)."
            )
        found = _folders(folder)
        if classes is None:
            classes = _taught(base, split, found)
            if not classes:
                raise DataError(
                    f"imagefolder {folder} holds no folders; put the pictures of each class into a folder of its name."
                )
        names = check_names(classes, str(folder))
        for other in found:
            if other not in names:
                raise DataError(
                    f"folder {folder / other} is not one of the {len(names)} fixed classes{nearest(other, names)}"
                )
        self.name = name or base.name
        self.heads = {"classification": f"classification.{self.name}"}
        self.classes = {"classification": names}
        self.items: list[tuple[str, int]] = []
        for label, own in enumerate(names):
            if (folder / own).is_dir():
                self.items.extend((p.relative_to(folder).as_posix(), label) for p in pictures_below(folder / own))
        if not self.items:
            raise DataError(
                f"imagefolder {folder} holds no image in its class folders; images end in {', '.join(IMAGE_SUFFIXES)}."
            )
        self.folder = folder

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        file, label = self.items[index]
        target = ClassLabel(label, self.classes["classification"])
        return Sample(
            read_pixels(self.folder / file), {"classification": target}, {"id": file, "path": str(self.folder / file)}
        )


def _folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _taught(base: Path, split: str, found: list[str]) -> list[str]:
    """The classes of a split: those of the training split where there is one that has them all."""
    train = base / "train"
    names = _folders(train) if split not in ("", "all", "train") and train.is_dir() else []
    return names if set(found) <= set(names) else found


READERS.register("imagefolder")(ImageFolder)
