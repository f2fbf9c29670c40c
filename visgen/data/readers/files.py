"""What the readers share: decoding to uint8, list files, class files, values of a json, and split names in errors."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ImageOps
from torch import Tensor

from ...errors import DataError
from ...structures.image import IMAGE_SUFFIXES, load_image, open_picture
from ..source import MissingSplit

__all__ = [
    *("IMAGE_SUFFIXES", "are_pixels", "check_ids", "check_names", "listed_side", "pictures_below", "read_classes"),
    *("read_ids", "read_list", "read_pixels", "require_folder", "whole_number"),
]

EXIF_ORIENTATION = 0x0112
_FARTHEST = 1_000_000  # pixels from the corner; the decoder of polygons never comes back from far larger numbers


def read_pixels(source: str | Path | bytes, name: str = "") -> Tensor:
    """Decode a picture to RGB (3, H, W) uint8, upright; other kinds than 8-bit RGB and grey go through `load_image`.

    Args:
        source: A path, or the encoded bytes.
        name: What errors call it; the path by default.
    Raises:
        ImageError: It cannot be decoded, or it has more than 64 million pixels.
    """
    name = name or ("encoded bytes" if isinstance(source, bytes) else str(source))
    with open_picture(io.BytesIO(source) if isinstance(source, bytes) else source, f"image {name}") as picture:
        plain = picture.mode in ("RGB", "L") and "transparency" not in picture.info
        if plain:
            upright = picture if picture.getexif().get(EXIF_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(picture)
            pixels = np.asarray(upright.convert("RGB"))
    if not plain:
        return load_image(source).mul(255.0).round_().to(torch.uint8)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def read_ids(path: Path, is_deep: bool = False, is_grey: bool = False) -> np.ndarray:
    """Read a label or depth PNG as whole numbers (H, W) int32: grey or palette indices, 8 or 16 bit; 0 and 1 of 1 bit.

    Args:
        path: The file.
        is_deep: Take 16 bits and more alone.
        is_grey: The numbers are levels from black (0) to white (255), also where fewer bits than 8 hold them.

    Raises:
        DataError: It cannot be read, has more than 64 million pixels, is a colour picture, or holds ids in grey of 2 or
            4 bits, which Pillow spreads over 0 to 255.
    """
    with open_picture(path, f"map {path}") as picture:
        if picture.mode not in ("L", "P", "I", "I;16", "I;16B", "1"):
            raise DataError(
                f"{path} is a {picture.mode} picture; a map must hold one number per pixel (grey or palette PNG): "
                "convert its colours to ids first."
            )
        if is_deep and picture.mode in ("L", "P", "1"):
            raise DataError(
                f"{path} has 8 bits a pixel; a depth PNG holds 16, as millimetres unless `scale` says otherwise: "
                "save depth itself, not a picture of it, or give the option scale for its 8-bit levels."
            )
        if is_grey and picture.mode.startswith("I"):
            raise DataError(f"{path} has 16 bits a pixel; its levels must go from 0 to 255: save it with 8 bits.")
        tiles = getattr(picture, "tile", None)
        stored = tiles[0][3] if picture.mode == "L" and tiles else ""
        if stored in ("L;2", "L;4") and not is_grey:
            raise DataError(
                f"{path} is a grey PNG of {stored[-1]} bits a pixel, whose numbers some programs read as they are and "
                "some spread over 0 to 255; save the map with 8 bits, or with a palette."
            )
        return np.asarray(picture.convert("L") if is_grey and picture.mode == "1" else picture).astype(np.int32)


def pictures_below(folder: Path) -> list[Path]:
    """Give the pictures in a folder and its folders, sorted; hidden files are none."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


def require_folder(path: str | Path, what: str) -> Path:
    """Give the path if it is a folder.

    Raises:
        DataError: It is not.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(
            f"{what} needs the folder {folder}, which does not exist; check the path (relative to {Path.cwd()})."
        )
    return folder


def read_list(path: Path, what: str) -> list[str]:
    """Read the lines of a list file, without blank ones and those that start with #.

    Raises:
        DataError: There is no such file; the message names the splits that are there.
    """
    if not path.is_file():
        there = sorted(p.stem for p in path.parent.glob("*.txt") if p.stem != "classes")
        raise MissingSplit(
            f"{what} has no split '{path.stem}' ({path} is missing); splits there: {', '.join(there) or 'none'}."
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def read_classes(path: Path, given: Sequence[str] | None = None) -> tuple[str, ...]:
    """Give the class names: those given, or one per line of a file.

    Raises:
        DataError: No file, no names, or a name twice.
    """
    if given is None:
        if not path.is_file():
            raise DataError(f"{path} is missing; it must list the class names, one per line (line number = id).")
        given = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    return check_names(given, str(path))


def check_names(names: Any, where: str) -> tuple[str, ...]:
    """Give a list of names as a tuple of texts; a whole number is a name, too.

    Raises:
        DataError: No list, none in it, one twice, or one that is empty or neither text nor a whole number.
    """
    if isinstance(names, (str, Mapping)) or not isinstance(names, Iterable):
        raise DataError(f"class names of {where} are {names!r}; give a list of names.")
    given = tuple(names)
    for name in given:
        if not isinstance(name, (str, int)) or isinstance(name, bool) or not str(name).strip():
            raise DataError(f"class names of {where} hold {name!r}; each must be text that is not empty: name it.")
    out = tuple(str(n) for n in given)
    twice = sorted({n for n in out if out.count(n) > 1})
    if not out or twice:
        raise DataError(
            f"class names of {where} are {'empty' if not out else f'not unique: {twice[0]!r} comes twice'}; fix them."
        )
    return out


def check_ids(ids: Iterable[Any], what: str, file: Path) -> None:
    """Raise DataError where an id of a file comes twice."""
    twice = [number for number, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{file} lists several {what} with the ids {twice[:5]}; each needs an id of its own.")


def whole_number(value: Any) -> int | None:
    """Give a whole number of a file, which may be written as text or as 7.0; None where it is none."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if isinstance(value, float) and number != value else number


def are_pixels(values: Any) -> bool:
    """Whether a value of a file is a list of numbers that may lie in a picture: no text, null, NaN or 1e9."""
    return isinstance(values, list) and all(isinstance(n, (int, float)) and abs(n) <= _FARTHEST for n in values)


def listed_side(record: Mapping[str, Any], key: str, where: str) -> int:
    """Give the "height" or "width" that a record of a file lists.

    Raises:
        DataError: It is no whole number above 0.
    """
    side = whole_number(record.get(key))
    if side is None or side < 1:
        raise DataError(f"{where} has {key} {record.get(key)!r}; it must be a whole number of pixels above 0.")
    return side
