"""What the readers share: decoding to uint8, list files, class files, and split names in errors."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...errors import DataError, ImageError
from ...structures.image import IMAGE_SUFFIXES
from ..source import MissingSplit

__all__ = ["IMAGE_SUFFIXES", "pictures_below", "read_classes", "read_ids", "read_list", "read_pixels", "require_folder"]

EXIF_ORIENTATION = 0x0112
_MAX_PIXELS = 64_000_000  # an 8k x 8k picture; a decompression bomb needs far more


def read_pixels(source: str | Path | bytes, name: str = "") -> Tensor:
    """Decode a picture to RGB (3, H, W) uint8, upright; other kinds than 8-bit RGB and grey go through `load_image`.

    Args:
        source: A path, or the encoded bytes.
        name: What errors call it; the path by default.
    Raises:
        ImageError: It cannot be decoded, or it has more than 64 million pixels.
    """
    name = name or ("encoded bytes" if isinstance(source, bytes) else str(source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    raise ImageError(
                        f"image {name} has {picture.width} x {picture.height} pixels; at most {_MAX_PIXELS:,} "
                        "are read: shrink it."
                    )
                plain = picture.mode in ("RGB", "L") and "transparency" not in picture.info
                if plain:
                    upright = (
                        picture if picture.getexif().get(EXIF_ORIENTATION, 1) == 1 else ImageOps.exif_transpose(picture)
                    )
                    pixels = np.asarray(upright.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(
            f"image {name} cannot be read: {error}; replace the file or take it out of the set."
        ) from error
    if not plain:
        from ...structures import load_image

        return load_image(source).mul(255.0).round_().to(torch.uint8)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def read_ids(path: Path, is_deep: bool = False) -> np.ndarray:
    """Read a label or depth PNG as whole numbers (H, W) int32: grey or palette indices, 8 or 16 bit.

    Args:
        path: The file.
        is_deep: Take 16 bits and more alone.

    Raises:
        DataError: It cannot be read, or it is a colour picture.
    """
    try:
        with Image.open(path) as picture:
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
            return np.asarray(picture).astype(np.int32)
    except (OSError, SyntaxError) as error:
        raise DataError(f"map {path} cannot be read: {error}; replace the file or take it out of the list.") from error


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


def check_names(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Give names as a tuple; raises DataError when there is none or one comes twice."""
    out = tuple(str(n) for n in names)
    twice = sorted({n for n in out if out.count(n) > 1})
    if not out or twice:
        raise DataError(
            f"class names of {where} are {'empty' if not out else f'not unique: {twice[0]!r} comes twice'}; fix them."
        )
    return out
