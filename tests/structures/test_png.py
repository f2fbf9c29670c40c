"""PNG maps and files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from visgen.errors import DataError
from visgen.structures import DepthMap
from visgen.structures.png import decode_png, encode_png, from_base64, to_base64, write_atomically


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_come_back(dtype: type) -> None:
    values = np.arange(12, dtype=dtype).reshape(3, 4) * (np.iinfo(dtype).max // 11)
    back = decode_png(encode_png(values), "map")
    assert back.dtype == dtype and np.array_equal(back, values)
    assert np.array_equal(decode_png(from_base64(to_base64(encode_png(values)), "map"), "map"), values)


def test_a_palette_changes_the_look_and_not_the_values() -> None:
    values = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3))
    assert np.array_equal(decode_png(encode_png(values, palette), "map"), values)


def test_broken_input_is_named() -> None:
    with pytest.raises(DataError, match="my map holds no readable PNG"):
        decode_png(encode_png(np.eye(64, dtype=np.uint8))[:50], "my map")
    with pytest.raises(DataError, match="my map holds a PNG of mode RGB; it must have one channel of 8 or 16 bits"):
        decode_png(encode_png(np.zeros((2, 2, 3), np.uint8)), "my map")
    with pytest.raises(DataError, match="my text holds no base64 text"):
        from_base64("%%%", "my text")


@pytest.mark.parametrize("read", [decode_png, DepthMap.from_png])
@pytest.mark.parametrize("side", [8001, 12_000, 20_000])
def test_bombs_are_refused_before_they_are_decoded(read: Callable[..., object], side: int) -> None:
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"\0"))
    parts = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(parts)
    with pytest.raises(
        DataError, match=r"my map (has 8001 x 8001 pixels; at most 64,000,000|holds no readable PNG: .*exceeds limit)"
    ):
        read(data, "my map")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomically(tmp_path / "a.bin", b"old")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_written_files_have_the_usual_rights(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    path = write_atomically(tmp_path / "atomic", b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
