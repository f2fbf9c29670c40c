"""Integer maps as PNG bytes, and bytes to disk in one step."""

from __future__ import annotations

import base64
import io
import os
import secrets
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError
from .image import open_picture

__all__ = ["decode_png", "encode_png", "from_base64", "to_base64", "write_atomically"]


def encode_png(values: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """Write a map or picture as PNG.

    Args:
        values: (H, W) uint8 or uint16, or (H, W, 3) uint8.
        palette: (n, 3) uint8 colours for a (H, W) uint8 map, so that viewers show the ids in colour; ids stay the pixel
            values.
    """
    if palette is None:
        picture = Image.fromarray(np.ascontiguousarray(values))
    else:
        picture = Image.frombytes("P", (values.shape[1], values.shape[0]), np.ascontiguousarray(values).tobytes())
        picture.putpalette(palette.astype(np.uint8).tobytes())
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def decode_png(data: bytes, owner: str) -> np.ndarray:
    """Read a PNG map as (H, W) uint8 or uint16; palette entries are read as ids, not as colours.

    Raises:
        DataError: The bytes are no PNG of one channel, or its pixels are over 64 million; the message names `owner`.
    """
    with open_picture(io.BytesIO(data), owner, "holds no readable PNG", ("PNG",)) as picture:
        picture.load()
        mode, values = picture.mode, np.array(picture)
    if mode in ("L", "P"):
        return values
    if mode in ("I;16", "I;16L", "I;16B", "I;16N", "I") and values.min() >= 0 and values.max() <= 65535:
        return values.astype(np.uint16)
    raise DataError(f"{owner} holds a PNG of mode {mode}; it must have one channel of 8 or 16 bits.")


def to_base64(data: bytes) -> str:
    """Give bytes as base64 text for JSON."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, owner: str) -> bytes:
    """Read base64 text; raises DataError naming `owner` when it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"{owner} holds no base64 text: {error}.") from error


def write_atomically(path: Path, data: bytes) -> Path:
    """Write bytes so that a reader, or a crash, sees the old file or the new one and never a part.

    The bytes go to a temporary file in the same folder, reach the disk, and take the name in one step.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
