"""Files and values that are odd or hostile: each is answered, or refused by an error that names it."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen import pipeline
from visgen.errors import ConfigError, ImageError
from visgen.structures import Result
from visgen.task import MultiTaskModel

from .conftest import photograph

SIZE = (60, 80)
PHOTO = Image.fromarray(photograph(*SIZE))
RED, GREEN = (Image.new("RGB", (40, 50), colour) for colour in ("#ff0000", "#00ff00"))


@pytest.fixture(scope="module")
def pipe(model: MultiTaskModel) -> Any:
    return pipeline(["classification", "depth"], model, device="cpu")


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG written chunk by chunk, which may lie about its size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts)


def deep() -> bytes:
    """The photograph with 16 bits per channel."""
    rows = (np.asarray(PHOTO).astype(">u2") * 257).reshape(SIZE[0], -1)
    return png(80, 60, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


ODD: dict[str, Callable[[], bytes]] = {
    "cmyk.jpg": lambda: encoded(PHOTO.convert("CMYK"), "JPEG", quality=95),
    "cmyk.tif": lambda: encoded(PHOTO.convert("CMYK"), "TIFF"),
    "deep.png": deep,
    "palette.png": lambda: encoded(PHOTO.quantize(64), "PNG"),
    "rgba.png": lambda: encoded(PHOTO.convert("RGBA"), "PNG"),
    "lab.tif": lambda: encoded(PHOTO.convert("LAB"), "TIFF"),
    "png inside.jpg": lambda: encoded(PHOTO, "PNG"),
    "jpeg inside.png": lambda: encoded(PHOTO, "JPEG", quality=95),
    "no suffix": lambda: encoded(PHOTO, "PNG"),
    "notes.txt": lambda: encoded(PHOTO, "PNG"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_the_picture_that_they_hold(pipe: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(ODD[name]())
    result, plain = pipe(tmp_path / name), pipe(PHOTO)
    assert result.size == result.depth.size == SIZE
    share = (result.depth.metres / plain.depth.metres - 1).abs()
    assert share.median() < 0.02  # palettes, chroma and colour profiles change pixels a little


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_is_answered_by_its_first_frame(pipe: Any, tmp_path: Path, form: str) -> None:
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    path = tmp_path / f"moving.{form.lower()}"
    path.write_bytes(encoded(RED, form, save_all=True, append_images=[GREEN], **options))
    assert torch.equal(pipe(path).depth.metres, pipe(RED).depth.metres)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_the_smallest_and_thinnest_pictures_are_answered(pipe: Any, size: tuple[int, int]) -> None:
    result = pipe(Image.new("RGB", size[::-1], "#0963c7"))
    assert result.size == result.depth.size == size


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "zero.jpg": (lambda: b"", r"is empty \(0 bytes\)"),
    "words.png": (lambda: b"hello", "is not an image of a known format"),
    "drawing.svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image of a known format"),
    "script.jpg": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n%%EOF\n", "is not an image of a known format"),
    "bomb.png": (lambda: png(8001, 8001, 1, 0, b"\0"), r"8001 x 8001 = 64,016,001 pixels; the limit is"),
    "large bomb.png": (lambda: png(20_000, 20_000, 1, 0, b"\0"), "larger than Pillow's own limit"),
    "wide bomb.png": (lambda: png(2**31 - 1, 1, 1, 0, b"\0"), "larger than Pillow's own limit"),
    "pgm bomb.pgm": (lambda: b"P5 60000 60000 255\n", "larger than Pillow's own limit"),
    "text bomb.png": (
        lambda: png(1, 1, 8, 0, b"\0\0", (b"zTXt", b"x\0\0" + zlib.compress(bytes(50_000_000)))),
        "is not an image of a known format",
    ),
    **{
        f"torn.{form.lower()}": (lambda form=form: half(encoded(PHOTO, form)), "torn or broken|is not an image")  # type: ignore[misc]
        for form in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP")
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name(pipe: Any, tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(content())
    with pytest.raises(ImageError, match=message) as caught:
        pipe(path)
    assert str(path) in str(caught.value) and "BufferedReader" not in str(caught.value)
    recorded = pipe([path, PHOTO], on_error="record")
    assert str(path) in str(recorded[0].error) and recorded[1].error is None
    assert Result.from_json(recorded[0].to_json()).error == recorded[0].error
    assert len(pipe([path, PHOTO], on_error="skip")) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_and_not_waited_for(pipe: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for inputs in (tmp_path / "pipe.png", tmp_path):  # by itself, and found in a folder
        with pytest.raises(ImageError, match=r"pipe\.png' is no regular file"):
            pipe(inputs)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ImageError, match=r"video '.*pipe\.mp4' is no regular file"):
        pipe(tmp_path / "pipe.mp4")


def test_links_that_lead_nowhere_are_refused(pipe: Any, tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(ImageError, match=r"loop\.png' cannot be opened"):
        pipe(tmp_path / "loop.png")
    with pytest.raises(ImageError, match=r"gone\.png' is a link to a file that does not exist\."):
        pipe(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "the path is empty"),
        ("a" * 5000, "cannot be opened: .*name too long"),
        ("a\0b.png", "cannot be opened"),
        ("file:///etc/passwd", "is not an http or https address"),
        ("http://169.254.169.254/latest/meta-data", "not a public internet address"),
        ("http://[::ffff:10.0.0.1]/a.png", "not a public internet address"),
        ("HTTP://127.0.0.1/a.png", "not a public internet address"),
        ("http://example.com:x/a.png", "is not an address"),
        (np.full((4, 4, 3), np.nan), "holds NaN or infinity"),
        (np.full((4, 4, 3), 1e300), "is float from 1e\\+300|holds NaN or infinity"),
        (np.zeros((4, 4, 3), complex), "has dtype complex128"),
        (np.array([[None]]), "has dtype object"),
        (np.ma.masked_array(np.zeros((4, 4, 3)), mask=True), r"is masked; .* pass array\.filled\(0\)"),
        (np.zeros((4, 4, 2), np.uint8), "is no image"),
        (np.zeros((0, 4, 3), np.uint8), "needs at least one"),
        (np.zeros((2, 2, 4, 4, 3), np.uint8), "is no image"),
        (torch.full((3, 4, 4), float("inf")), "holds NaN or infinity"),
        (torch.zeros(3, 4, 4).to_sparse(), "is sparse_coo on cpu; .* dense tensor"),
        (torch.zeros(3, 4, 4, device="meta"), "is strided on meta; .* dense tensor"),
        ([None], "input is a builtins.NoneType"),
        ([[PHOTO]], "input is a builtins.list"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_values_that_are_no_picture_are_refused(pipe: Any, value: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        pipe(value)


def test_a_closed_file_is_refused(pipe: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(PHOTO, "PNG"))
    with (tmp_path / "photo.png").open("rb") as file:
        pass
    with pytest.raises(ImageError, match=r"item 0 .* cannot be read: .* closed"):
        pipe(file)
    assert pipe(file, on_error="record").error is not None


def test_a_matrix_is_a_grey_picture(pipe: Any) -> None:
    assert pipe(np.asmatrix(np.zeros((40, 50)))).size == (40, 50)


@pytest.mark.parametrize("count", [0, 1.5, True, "2"])
def test_a_batch_size_is_a_whole_number(pipe: Any, count: Any) -> None:
    with pytest.raises(ConfigError, match=f"batch_size is {count}; it must be a whole number from 1 on"):
        pipe(PHOTO, batch_size=count)
