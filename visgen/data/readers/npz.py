"""Small classification sets in one npz file: JPEG bytes one after the other, or plain uint8 images."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ...errors import ConfigError, DataError
from ...structures import ClassLabel
from ..sample import Sample
from ..source import READERS, MissingSplit
from .files import check_names, read_pixels

__all__ = ["NpzImages"]


class NpzImages:
    """Labelled images of one npz file, held in memory.

    Read are `blob` (all encoded images, uint8), `offsets` (N+1: image i is blob[offsets[i]:offsets[i+1]]) and `labels`;
    or `images` (N, H, W, 3) uint8 and `labels`; class names come from `classes`.

    Args:
        path: The file, or a folder with SPLIT.npz.
        split: Names the file.
        name: Label set; the head is "classification.NAME". By default the name of the file's folder.
        classes: Class names, for files without them.
        val_share: For a set of one file, in 0..1: split "val" is about this share of the images of train.npz, and split
            "train" the others. An image goes by a hash of its bytes, so the parts never change and equal images stay
            together. None splits nothing.
    Raises:
        DataError: A missing file or array, arrays of unequal length, labels or offsets that are no whole numbers, or
            a label outside the classes.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "",
        classes: Sequence[str] | None = None,
        val_share: float | None = None,
    ) -> None:
        file, part = Path(path), split
        if val_share is not None:
            if not 0 < val_share < 1 or split not in ("train", "val"):
                raise ConfigError(
                    f"val_share is {val_share} for split '{split}'; give a share above 0 and below 1, and split "
                    "train or val."
                )
            split = "train"
        file = file / f"{split}.npz" if file.is_dir() else file
        if not file.is_file():
            there = sorted(p.name for p in file.parent.glob("*.npz")) if file.parent.is_dir() else []
            raise (MissingSplit if there else DataError)(
                f"npz file {file} does not exist; npz files there: {', '.join(there) or 'none'}."
            )
        try:
            with np.load(file, allow_pickle=False) as stored:
                arrays = {
                    key: stored[key]
                    for key in stored.files
                    if key in ("blob", "offsets", "images", "labels", "classes")
                }
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{file} cannot be read as npz: {error}; arrays of objects are not read.") from error
        if "labels" not in arrays or not ({"blob", "offsets"} <= set(arrays) or "images" in arrays):
            raise DataError(f"{file} holds {sorted(arrays)}; it needs labels and either images or blob and offsets.")
        if classes is None and "classes" not in arrays:
            raise DataError(f"{file} has no array 'classes'; give the class names with the option classes.")
        names = check_names(arrays["classes"].tolist() if classes is None else classes, str(file))
        self.file, self.name = file, name or file.resolve().parent.name
        self.heads, self.classes = {"classification": f"classification.{self.name}"}, {"classification": names}
        self.labels = _whole(arrays, "labels", file)
        self.images, self.blob = arrays.get("images"), arrays.get("blob")
        self.offsets = _whole(arrays, "offsets", file) if self.images is None else None
        if self.images is not None and (self.images.dtype != np.uint8 or self.images.shape[3:] != (3,)):
            raise DataError(
                f"{file}: images are {self.images.shape} {self.images.dtype}; they must be (N, H, W, 3) uint8."
            )
        count = len(self.images) if self.images is not None else len(self.offsets) - 1  # type: ignore[arg-type]
        if count != len(self.labels) or count == 0:
            raise DataError(
                f"{file} holds {count} images but {len(self.labels)} labels; both must be equal and above 0."
            )
        if self.offsets is not None and self.blob is not None:
            ends = [0, *self.offsets.tolist(), self.blob.size]
            if self.blob.dtype != np.uint8 or self.blob.ndim != 1 or ends != sorted(ends):
                raise DataError(
                    f"{file}: blob is {self.blob.shape} {self.blob.dtype}, cut at {ends[1]} to {ends[-2]}; it must be "
                    "(bytes,) uint8, and offsets rise within it."
                )
        if self.labels.min() < 0 or self.labels.max() >= len(names):
            wrong = int(self.labels.min() if self.labels.min() < 0 else self.labels.max())
            raise DataError(f"{file} holds label {wrong}, but its {len(names)} classes are 0..{len(names) - 1}.")
        self.places = range(count) if val_share is None else self._part(part, val_share)

    def _part(self, part: str, val_share: float) -> Sequence[int]:
        """Positions of the images of one part of a set that is split by hash."""
        found = []
        for index in range(len(self.labels)):
            digest = hashlib.blake2b(self._bytes(index), digest_size=8).digest()
            is_val = int.from_bytes(digest, "little") < val_share * 2**64
            if is_val == (part == "val"):
                found.append(index)
        if not found:
            raise DataError(f"{self.file} has no image in part '{part}' of val_share {val_share}; choose another.")
        return found

    def _bytes(self, index: int) -> bytes:
        if self.images is not None:
            return self.images[index].tobytes()
        low, high = int(self.offsets[index]), int(self.offsets[index + 1])  # type: ignore[index]
        return self.blob[low:high].tobytes()  # type: ignore[index]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        index = self.places[index]
        where = f"{self.file}#{index}"
        if self.images is not None:
            pixels = torch.from_numpy(self.images[index].copy()).permute(2, 0, 1)
        else:
            pixels = read_pixels(self._bytes(index), where)
        target = ClassLabel(int(self.labels[index]), self.classes["classification"])
        return Sample(pixels, {"classification": target}, {"id": index, "path": where})


READERS.register("npz")(NpzImages)


def _whole(arrays: Mapping[str, np.ndarray], name: str, file: Path) -> np.ndarray:
    """One of the arrays as (N,) int64."""
    found = arrays[name]
    try:
        with np.errstate(invalid="ignore"):  # NaN, which is not equal below
            whole = found.astype(np.int64)
    except (ValueError, OverflowError):
        whole = None
    if whole is None or found.ndim != 1 or (found.dtype.kind == "f" and (whole != found).any()):
        raise DataError(f"{file}: {name} are {found.shape} {found.dtype}; they must be (N,) whole numbers.")
    return whole
