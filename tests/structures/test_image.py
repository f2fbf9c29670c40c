"""load_image: every kind of picture to one form, and a reason for each that is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from visgen.errors import ImageError
from visgen.structures import load_image, picture_of

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14  # (H, W, 3), every value another


def as_bytes(picture: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=form, **options)
    return stream.getvalue()


def expected() -> torch.Tensor:
    return torch.from_numpy(RGB.astype(np.float32).transpose(2, 0, 1) / 255)


def test_every_kind_of_input_gives_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(RGB).save(path)
    chw = torch.from_numpy(RGB).permute(2, 0, 1)
    inputs = [
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        Image.fromarray(RGB),
        RGB,
        RGB.astype(np.float64) / 255,
        (RGB / 255).astype(np.float32),
        np.ascontiguousarray(RGB[::-1])[::-1],
        chw,
        chw.float() / 255,
        chw.double() / 255,
    ]
    for given_input in inputs:
        image = load_image(given_input)
        assert image.dtype == torch.float32 and image.shape == (3, 2, 3) and image.is_contiguous()
        torch.testing.assert_close(image, expected(), rtol=0, atol=1e-6)


def test_bgr_concerns_arrays_and_tensors_only(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(RGB).save(path)
    bgr = RGB[..., ::-1]
    for same in (bgr, torch.from_numpy(bgr.copy()).permute(2, 0, 1), path, path.read_bytes(), Image.fromarray(RGB)):
        torch.testing.assert_close(load_image(same, color="bgr"), expected(), rtol=0, atol=1e-6)
    with pytest.raises(ImageError, match="color is 'rbg'; it must be 'rgb' or 'bgr'"):
        load_image(path, color="rbg")


def test_the_input_is_not_shared() -> None:
    array, tensor = np.zeros((2, 2, 3), dtype=np.float32), torch.zeros(3, 2, 2)
    for source in (array, tensor):
        load_image(source).fill_(1)
        assert float(source.max()) == 0


# The stored rows of a 2 x 3 picture for each EXIF orientation such that the upright picture is RGB; worked from the
# table of EXIF 2.32: what is the 0th row and the 0th column of the stored picture.
STORED = {
    1: RGB,
    2: RGB[:, ::-1],  # row 0 top, column 0 right
    3: RGB[::-1, ::-1],  # bottom, right
    4: RGB[::-1],  # bottom, left
    5: RGB.transpose(1, 0, 2),  # left, top
    6: RGB.transpose(1, 0, 2)[::-1],  # right, top
    7: RGB.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
    8: RGB.transpose(1, 0, 2)[:, ::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, form: str, tmp_path: Path) -> None:
    if orientation in (6, 8):  # a guard for the table: the upright picture seen through the camera turned by 90 degrees
        turned = np.rot90(RGB, 1 if orientation == 6 else -1)
        assert np.array_equal(turned, STORED[orientation])
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif}
    if form == "TIFF":
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[0x0112] = orientation
        options = {"tiffinfo": info}
    if form == "WEBP":
        options["lossless"] = True
    data = as_bytes(stored, form, **options)
    path = tmp_path / f"photo.{form.lower()}"
    path.write_bytes(data)
    for source in (data, path, Image.open(io.BytesIO(data))):
        torch.testing.assert_close(load_image(source), expected(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_of_jpeg(orientation: int) -> None:
    big = np.kron(STORED[orientation], np.ones((16, 16, 1), dtype=np.uint8))  # blocks that JPEG keeps
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(as_bytes(Image.fromarray(big), "JPEG", exif=exif, quality=98, subsampling=0))
    assert image.shape == (3, 32, 48)
    torch.testing.assert_close(image[:, 8::16, 8::16], expected(), rtol=0, atol=0.04)


def test_a_broken_exif_block_counts_as_upright() -> None:
    data = as_bytes(Image.fromarray(RGB), "JPEG", exif=b"Exif\x00\x00not a tiff header")
    assert load_image(data).shape == (3, 2, 3)


def one(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (2, 1), value)


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (one("1", 1), (1, 1, 1)),
        (one("L", 51), (0.2, 0.2, 0.2)),
        (one("RGB", (255, 0, 51)), (1, 0, 0.2)),
        (one("LA", (0, 51)), (0.8, 0.8, 0.8)),  # a fifth of black on white
        (one("LA", (0, 51)).convert("La"), (0.8, 0.8, 0.8)),  # the same, with its alpha multiplied in
        (one("RGBA", (255, 0, 0, 0)), (1, 1, 1)),  # nothing on white
        (one("RGBA", (255, 0, 0, 255)), (1, 0, 0)),
        (one("RGBA", (255, 0, 0, 51)), (1, 0.8, 0.8)),
        (one("CMYK", (0, 255, 255, 0)), (1, 0, 0)),
        (one("HSV", (0, 255, 255)), (1, 0, 0)),
        (one("I;16", 32768), (32768 / 65535,) * 3),
        (one("F", 0.25), (0.25, 0.25, 0.25)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_modes(picture: Image.Image, colour: tuple[float, float, float]) -> None:
    image = load_image(picture)
    assert image.shape == (3, 1, 2)
    torch.testing.assert_close(image[:, 0, 0], torch.tensor(colour, dtype=torch.float32), rtol=0, atol=0.5 / 255)


def test_16_bit_grey_keeps_its_steps(tmp_path: Path) -> None:
    values = np.array([[0, 1, 256, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    Image.fromarray(values).save(tmp_path / "deep.tif")
    (tmp_path / "deep.pgm").write_bytes(b"P5 4 1 65535\n" + values.astype(">u2").tobytes())
    for name in ("deep.png", "deep.tif", "deep.pgm"):
        image = load_image(tmp_path / name)
        torch.testing.assert_close(image[0, 0], torch.tensor([0, 1, 256, 65535]) / 65535, rtol=0, atol=1e-7)
    Image.fromarray(values).save(tmp_path / "clear.png", transparency=256)
    assert (load_image(tmp_path / "clear.png")[0, 0] * 65535).round().tolist() == [0, 1, 65535, 65535]


def test_palettes_with_and_without_transparency() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    assert load_image(as_bytes(picture))[:, 0].T.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert load_image(as_bytes(picture, transparency=1))[:, 0].T.tolist() == [[1, 0, 0], [1, 1, 1]]
    keyed = as_bytes(Image.new("RGB", (2, 1), (0, 0, 255)), transparency=(0, 0, 255))  # PNG colour key
    assert load_image(keyed).min() == 1


def test_animations_give_their_first_frame() -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = as_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_image(data)[:, 0, 0].tolist() == [1, 0, 0]
    opened = Image.open(io.BytesIO(data))
    opened.seek(1)
    assert load_image(opened)[:, 0, 0].tolist() == [0, 1, 0]
    assert opened.tell() == 1


def test_grey_arrays_and_tensors() -> None:
    grey = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    for source in (grey, grey[..., None], grey / 255, torch.from_numpy(grey)[None]):
        image = load_image(source, color="bgr")
        assert image.shape == (3, 2, 2)
        torch.testing.assert_close(image, torch.tensor([[0, 0.2], [0.4, 1]]).expand(3, 2, 2))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 5, 4), np.uint8), r"array of shape \(4, 5, 4\) has 4 channels, .* pass array\[\.\.\., :3\]"),
        (
            np.zeros((3, 4, 5), np.uint8),
            r"array of shape \(3, 4, 5\) has its channels first; .* pass array.transpose\(1, 2, 0\)",
        ),
        (np.zeros((1, 4, 5, 3), np.uint8), r"looks like a batch; .* pass list\(array\)"),
        (np.zeros((4, 5, 2), np.uint8), r"array of shape \(4, 5, 2\) is no image"),
        (np.zeros(7, np.uint8), r"array of shape \(7,\) is no image; arrays are \(H, W, 3\) or grey"),
        (np.zeros((0, 5, 3), np.uint8), "has 5 x 0 pixels; an image needs at least one"),
        (np.full((4, 5, 3), 255.0), r"is float from 255 to 255; float images lie in \[0, 1\]; pass array / 255"),
        (np.full((4, 5, 3), -0.5), "is float from -0.5 to -0.5; .* undo any mean and std"),
        (np.full((4, 5, 3), np.nan), "holds NaN or infinity; replace them"),
        (np.zeros((4, 5, 3), np.uint16), "dtype uint16; .* divide by its white level"),
        (np.zeros((4, 5, 3), np.int64), r"dtype int64; .* pass array.astype\(numpy.uint8\)"),
        (np.zeros((4, 5), bool), r"dtype bool; .* pass array.astype\(numpy.float32\)"),
        (torch.zeros(4, 5, 3), r"tensor of shape \(4, 5, 3\) has its channels last; .* pass tensor.permute\(2, 0, 1\)"),
        (torch.zeros(1, 3, 4, 5), r"looks like a batch; .* pass list\(tensor\)"),
        (torch.zeros(4, 5), r"has no channel axis; .* pass tensor\[None\]"),
        (torch.zeros(4, 5, 6), r"tensor of shape \(4, 5, 6\) is no image"),
        (torch.full((3, 4, 5), 255.0), r"is float from 255 to 255; .* pass tensor / 255"),
        (torch.full((3, 4, 5), float("inf")), "holds NaN or infinity"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), r"dtype torch.int64; .* pass tensor.to\(torch.uint8\)"),
        (Image.new("I", (2, 2), 70000), "the PIL image of mode I has 32-bit pixels .* from 70000 to 70000"),
        (Image.new("F", (2, 2), 9.0), "mode F.* from 9 to 9, and no white level is known"),
        ({"image": 1}, r"input is a builtins.dict; load_image reads a path, bytes"),
        (None, "input is a builtins.NoneType"),
        ("https://example.org/a.jpg", "'https:/.*' is a web address; .* visgen.pipeline"),
        (b"", r"the 0 bytes given is empty \(0 bytes\)"),
        (b"GIF of a cat", "the 12 bytes given is not an image of a known format"),
    ],
)
def test_what_is_refused_and_how_to_fix_it(source: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(source)


def test_float_rounding_is_let_in_and_cut() -> None:
    image = load_image(torch.tensor([1.00005, -0.00005]).expand(3, 1, 2))
    assert image[0, 0].tolist() == [1.0, 0.0]


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "holiday.png")
    with pytest.raises(ImageError, match=r"holidya\.png' does not exist; did you mean 'holiday\.png'\?"):
        load_image(tmp_path / "holidya.png")
    with pytest.raises(ImageError, match=r"/none/x\.png' does not exist\."):
        load_image(tmp_path / "none" / "x.png")
    with pytest.raises(ImageError, match=r"' is a folder; load_image reads one file"):
        load_image(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg' is empty \(0 bytes\)"):
        load_image(tmp_path / "empty.jpg")
    (tmp_path / "notes.jpg").write_text("buy milk")
    with pytest.raises(ImageError, match=r"notes\.jpg' is not an image of a known format \(AVIF"):
        load_image(tmp_path / "notes.jpg")
    with pytest.raises(ImageError, match=r"cannot be opened: embedded null byte"):
        load_image("a\0b.png")


@pytest.mark.parametrize(("form", "name"), [("JPEG", "torn.jpg"), ("PNG", "torn.png"), ("WEBP", "torn.webp")])
def test_torn_files_are_named(form: str, name: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = as_bytes(Image.fromarray(noise), form)
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=rf"{name}' (cannot be decoded, it is torn|is not an image)"):
        load_image(tmp_path / name)


@given(st.binary(max_size=40), st.integers(0, 60))
def test_no_garbage_escapes_as_another_error(garbage: bytes, at: int) -> None:
    data = as_bytes(Image.fromarray(RGB))
    broken = data[:at] + garbage + data[at + len(garbage) :]
    try:
        assert load_image(broken).shape[0] == 3
    except ImageError as error:
        assert "bytes given" in str(error)


def bomb(width: int, height: int) -> bytes:
    """A PNG header for so many pixels, with almost no data behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [8001, 12_000, 20_000])
def test_bombs_are_refused_before_they_are_decoded(side: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side, side))
    with pytest.raises(
        ImageError, match=r"bomb\.png' (has .* pixels; the limit is 64,000,000|is larger than Pillow's)"
    ):
        load_image(path)


def test_the_pixel_limit_holds_for_every_kind(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "photo.png")
    for source in (tmp_path / "photo.png", Image.fromarray(RGB), RGB, torch.zeros(3, 2, 3)):
        assert load_image(source, max_pixels=6).shape == (3, 2, 3)
        with pytest.raises(ImageError, match=r"has 3 x 2 = 6 pixels; the limit is 5; .* raise max_pixels"):
            load_image(source, max_pixels=5)


def test_formats_that_run_programs_stay_out() -> None:
    with pytest.raises(ImageError, match="is not an image of a known format"):
        load_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n%%EOF\n")


def test_picture_of_is_the_uint8_form() -> None:
    assert picture_of(RGB) is RGB
    assert np.array_equal(picture_of(expected()), RGB)
    assert np.array_equal(picture_of(Image.fromarray(RGB)), RGB)


def test_real_photographs(data_root: Path) -> None:
    folder = data_root / "camvid" / "images"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    for path in sorted(folder.iterdir())[:3]:
        with Image.open(path) as picture:
            direct = np.asarray(picture.convert("RGB"))
        assert np.array_equal(picture_of(load_image(path)), direct)
