"""In- and out-of-distribution images side by side: IN_PATH,OUT_PATH, two folders of pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...errors import ConfigError, DataError, nearest
from ...structures import OODLabel
from ..sample import Sample
from ..source import READERS, MissingSplit
from .files import IMAGE_SUFFIXES, pictures_below, read_pixels, require_folder

__all__ = ["OODFolders", "half_of"]

_SPLITS = ("train", "val", "test")
_SIDES = ("in", "out")


class OODFolders:
    """Images that are in distribution, then images that are not, every one with an OODLabel.

    Each folder is read with all that lies under it, classes and all. Where it has folders called train, val or test,
    only the split's is read; where it has none, all of it is.

    Args:
        path: "IN_PATH,OUT_PATH".
        split: Part of the folders that have splits; "" or "all" reads everything.
        half: 0 or 1 for one half of both sides, by the lowest bit of the first byte of the sha256 of the file's name
            (without its folders): choose a score on one half, report it on the other.
        side: "in" or "out" for the images of one side only; "" for both.
        name: What logs call the set; by default both folders' names.
    Raises:
        ConfigError: A path that is not two folders, or another half or side.
        DataError: A missing folder or split, a side without images, or an image on both sides.
    """

    def __init__(
        self, path: str, split: str = "val", *, half: int | None = None, side: str = "", name: str = ""
    ) -> None:
        parts = [part.strip() for part in str(path).split(",")]
        if len(parts) != 2 or not all(parts):
            raise ConfigError(f"path of ood data is '{path}'; write two folders, ood:IN_PATH,OUT_PATH.")
        if half not in (None, 0, 1) or isinstance(half, bool):
            raise ConfigError(f"half of ood data is {half!r}; use 0 or 1, or leave it out for all images.")
        if side not in ("", *_SIDES):
            raise ConfigError(f"side of ood data is '{side}'{nearest(side, _SIDES)} Use in or out, or leave it out.")
        bases = [
            require_folder(Path(part).expanduser(), f"the {at} side of ood")
            for at, part in zip(_SIDES, parts, strict=True)
        ]
        sides = [_images(base, split) for base in bases]
        both = sorted(set(sides[0]) & set(sides[1]))
        if both:
            raise DataError(f"{len(both)} images are on both sides of ood '{path}', such as {both[0]}; part the sides.")
        self.items: list[tuple[Path, str, bool]] = []
        for base, files, is_ood in zip(bases, sides, (False, True), strict=True):
            kept = [file for file in files if half is None or half_of(file.name) == half]
            if not kept:
                raise DataError(
                    f"ood folder {base} [{split}] holds no image{'' if half is None else f' of half {half}'}; images "
                    f"end in {', '.join(IMAGE_SUFFIXES)}."
                )
            at = _SIDES[is_ood]
            if side in ("", at):
                self.items += [(file, f"{at}/{file.relative_to(base).as_posix()}", is_ood) for file in kept]
        self.name = name or "-".join(base.name for base in bases)
        self.heads = {"ood": "ood"}
        self.classes: dict[str, tuple[str, ...]] = {"ood": ()}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        file, place, is_ood = self.items[index]
        return Sample(read_pixels(file), {"ood": OODLabel(is_ood)}, {"id": place, "path": str(file)})


def half_of(name: str) -> int:
    """Give the half, 0 or 1, that a file belongs to by its name."""
    return hashlib.sha256(name.encode("utf-8")).digest()[0] % 2


def _images(base: Path, split: str) -> list[Path]:
    """All pictures of the split, sorted."""
    there = [name for name in _SPLITS if (base / name).is_dir()]
    folder = base
    if split not in ("", "all") and (there or (base / split).is_dir()):
        folder = base / split
        if not folder.is_dir():
            raise MissingSplit(f"ood folder {base} has no split '{split}'; splits there: {', '.join(there)}.")
    return pictures_below(folder)


READERS.register("ood")(OODFolders)
