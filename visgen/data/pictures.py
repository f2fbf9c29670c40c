"""A folder of pictures without labels, for what needs images only."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from .readers.files import IMAGE_SUFFIXES, pictures_below, read_pixels, require_folder
from .sample import Sample

__all__ = ["PictureFolder"]


class PictureFolder:
    """All pictures under a folder, sorted by path; samples have no targets.

    Args:
        path: The folder; subfolders are searched.
    Raises:
        DataError: No folder, or no picture in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = require_folder(path, "a folder of pictures")
        self.files = [p.relative_to(self.folder).as_posix() for p in pictures_below(self.folder)]
        if not self.files:
            raise DataError(f"folder {self.folder} holds no picture; pictures end in {', '.join(IMAGE_SUFFIXES)}.")
        self.name = self.folder.name
        self.heads: dict[str, str] = {}
        self.classes: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        path = self.folder / self.files[index]
        return Sample(read_pixels(path), meta={"id": self.files[index], "path": str(path), "source": self.name})
