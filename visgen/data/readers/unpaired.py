"""Pictures of two domains, such as day and night, drawn independently of each other."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...errors import ConfigError, DataError
from ..sample import Sample
from ..source import READERS
from .files import IMAGE_SUFFIXES, read_list, read_pixels, require_folder

__all__ = ["Unpaired"]


class Unpaired:
    """Every picture of the first domain with every one of the second; shuffled, that is an independent draw of both.

    The sample's image is of the first domain, `targets["other"]` is a picture (3, H, W) uint8 of the second. The
    transform `shared_crop` brings both to one size.

    Args:
        path: The set's folder.
        split: The files are named in SPLIT_FIRST.txt and SPLIT_SECOND.txt, one per line, inside the folders FIRST and
            SECOND; "all" takes every picture in the two folders.
        first, second: Names of the domains and of their folders.
        lists: Folder of the lists, for parts of the set that are cut elsewhere, such as folds; None takes `path`.
        cache: Keep decoded pictures in memory.
    Raises:
        ConfigError: The two domains are one.
        DataError: Missing folders, lists or files, or a domain without pictures.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        first: str = "day",
        second: str = "night",
        lists: str | Path | None = None,
        cache: bool = True,
    ) -> None:
        if first == second:
            raise ConfigError(f"unpaired: first and second are both '{first}'; name two folders.")
        self.base = require_folder(path, "unpaired")
        self.name, self.domains = self.base.name, (first, second)
        self.lists = self.base if lists is None else require_folder(lists, "unpaired lists")
        self.heads: dict[str, str] = {}
        self.classes: dict[str, tuple[str, ...]] = {}
        self.files = [self._list(domain, split) for domain in self.domains]
        self._kept: dict[Path, Tensor] | None = {} if cache else None

    def _list(self, domain: str, split: str) -> list[Path]:
        folder = require_folder(self.base / domain, "unpaired")
        if split == "all":
            found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        else:
            # a line may be written from the set's folder or from that of the domain
            lines = read_list(self.lists / f"{split}_{domain}.txt", f"unpaired set {self.base}")
            found = [self.base / line if (self.base / line).is_file() else folder / line for line in lines]
        for file in found:
            if not file.is_file():
                raise DataError(f"unpaired set {self.base}: split '{split}' names {file}, which is missing.")
        if not found:
            raise DataError(f"unpaired set {self.base} has 0 pictures of '{domain}' in split '{split}'.")
        return found

    def __len__(self) -> int:
        return len(self.files[0]) * len(self.files[1])

    def __getitem__(self, index: int) -> Sample:
        first, second = divmod(index, len(self.files[1]))
        if not 0 <= first < len(self.files[0]):
            raise IndexError(f"index {index} is outside source '{self.name}' of {len(self)}.")
        a, b = self.files[0][first], self.files[1][second]
        return Sample(self._read(a), {"other": self._read(b)}, {"id": f"{a.stem}+{b.stem}", "path": str(a)})

    def _read(self, path: Path) -> Tensor:
        if self._kept is None:
            return read_pixels(path)
        if path not in self._kept:
            self._kept[path] = read_pixels(path)
        return self._kept[path]


READERS.register("unpaired")(Unpaired)
