"""Lists of pictures that a study draws once and for all: drawn by hash, and pinned by one hash of all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..errors import DataError
from .readers.files import read_pixels

__all__ = ["by_hash", "centre_square", "check_pin", "files_by_hash", "pin_of", "to_pixmap"]


def by_hash(labels: Sequence[Hashable], counts: Sequence[int]) -> list[list[int]]:
    """Split positions class by class into parts of `counts` each, in the order of the sha256 of the position.

    A class with fewer members fills the first parts first; nothing is in two parts.
    """
    parts: list[list[int]] = [[] for _ in counts]
    for label in dict.fromkeys(labels):
        own = sorted((i for i, y in enumerate(labels) if y == label), key=lambda i: _key(str(i)))
        start = 0
        for part, count in zip(parts, counts, strict=True):
            part += own[start : start + count]
            start += count
    return parts


def files_by_hash(folder: Path, suffix: str = ".jpg", limit: int | None = None) -> list[Path]:
    """Give the files under a folder in the order of the sha256 of their names, at most `limit` of them.

    Raises:
        DataError: There is none.
    """
    found = sorted(folder.rglob(f"*{suffix}"), key=lambda p: (_key(p.name), p.as_posix()))
    if not found:
        raise DataError(f"{folder} holds no file that ends in {suffix}; check the path.")
    return found[:limit]


def pin_of(pictures: Iterable[bytes]) -> str:
    """Give one hash of pictures in their order: the sha256 of the sha256 of each, in hexadecimal."""
    return hashlib.sha256("".join(hashlib.sha256(p).hexdigest() for p in pictures).encode()).hexdigest()


def check_pin(name: str, pictures: Sequence[bytes], pinned: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give {"images", "sha256"} of a list, once it is seen to be the pinned one.

    Raises:
        DataError: The list differs from the one pinned under its name.
    """
    found: dict[str, Any] = {"images": len(pictures), "sha256": pin_of(pictures)}
    if name in pinned and dict(pinned[name]) != found:
        raise DataError(
            f"list '{name}' has {found['images']} pictures with hash {found['sha256'][:12]}, but "
            f"{pinned[name]['images']} with {str(pinned[name]['sha256'])[:12]} are pinned; use the data of the cards."
        )
    return found


def to_pixmap(pixels: Tensor) -> bytes:
    """Encode RGB pixels (3, H, W) uint8 as a portable pixmap, whose bytes no version of a library changes."""
    height, width = pixels.shape[1:]
    return f"P6 {width} {height} 255\n".encode() + pixels.permute(1, 2, 0).contiguous().numpy().tobytes()


def centre_square(picture: bytes, side: int, shown: int) -> Tensor:
    """Bring an encoded picture to a square (1, 3, shown, shown) in [0, 1], in one way for every set of a study.

    Args:
        picture: Encoded bytes.
        side: The shorter side is brought to so many pixels, with antialiasing, and the middle square is kept.
        shown: The square is then enlarged to so many pixels.
    """
    x = read_pixels(picture, "a picture of a study").float()[None] / 255
    scale = side / min(x.shape[-2:])
    size = [max(side, round(n * scale)) for n in x.shape[-2:]]
    x = F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
    top, left = (size[0] - side) // 2, (size[1] - side) // 2
    x = x[..., top : top + side, left : left + side]
    return x if side == shown else F.interpolate(x, size=[shown, shown], mode="bilinear", align_corners=False)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()
