import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from visgen.data import build_source
from visgen.data.readers.files import read_classes, read_ids, read_list, read_pixels
from visgen.errors import DataError, ImageError


def test_decodes_bytes_and_files_to_uint8(tmp_path, write_picture):
    values = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    file = write_picture(tmp_path / "a.png", values)
    for source in (file, str(file), file.read_bytes()):
        pixels = read_pixels(source)
        assert pixels.shape == (3, 5, 7) and (pixels.permute(1, 2, 0).numpy() == values).all()


def test_grey_exif_and_unusual_modes(tmp_path):
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((4, 6), 77, np.uint8)).save(grey)
    assert read_pixels(grey).unique().tolist() == [77]
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn clockwise to see it
    left_red = np.zeros((16, 32, 3), np.uint8)
    left_red[:, :16, 0] = 255
    Image.fromarray(left_red).save(turned, exif=exif, quality=95, subsampling=0)
    pixels = read_pixels(turned)
    assert pixels.shape == (3, 32, 16) and int(pixels[0, 2, 8]) > 240 and int(pixels[0, 30, 8]) < 15
    cmyk = tmp_path / "cmyk.jpg"
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(cmyk)
    assert int(read_pixels(cmyk).min()) > 250


def png_header(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that promises a size and holds almost nothing; RGB unless `colour` is 0, grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_broken_files_are_named(tmp_path):
    for name, data in (("empty.jpg", b""), ("text.png", b"hello"), ("torn.png", png_header(100, 100))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=f"{name} cannot be read"):
            read_pixels(tmp_path / name)
    with pytest.raises(ImageError, match=r"absent\.jpg cannot be read"):
        read_pixels(tmp_path / "absent.jpg")
    stream = io.BytesIO()
    Image.new("RGB", (300, 300), (1, 2, 3)).save(stream, "jpeg")
    with pytest.raises(ImageError, match="torn jpeg cannot be read"):
        read_pixels(stream.getvalue()[:400], "torn jpeg")


@pytest.mark.parametrize("size", [(8001, 8001), (12000, 12000), (20000, 20000)])
def test_bombs_are_refused_before_they_are_decoded(size):
    with pytest.raises(
        ImageError, match=r"bomb (has 8001 x 8001 pixels; at most 64,000,000|cannot be read: .*exceeds limit)"
    ):
        read_pixels(png_header(*size), "bomb")


@pytest.mark.parametrize("side", [8001, 12000, 20000])
@pytest.mark.parametrize(
    ("reader", "folder", "line"),
    [("semantic", "semantic", "a"), ("boundary", "boundaries", "a"), ("depth", "depth", "images/a.png depth/a.png")],
)
def test_maps_that_are_bombs_are_refused_before_they_are_decoded(reader, folder, line, side, tmp_path, write_picture):
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "a.png").write_bytes(png_header(side, side, bits=16, colour=0))
    (tmp_path / "classes.txt").write_text("x\ny\n")
    (tmp_path / "train.txt").write_text(f"{line}\n")
    source = build_source(f"{reader}:{tmp_path}", "train")
    with pytest.raises(
        DataError, match=r"map .*a\.png (has 8001 x 8001 pixels; at most 64,000,000|cannot be read: .*exceeds limit)"
    ):
        source[0]


def test_maps_hold_one_number_per_pixel(tmp_path):
    deep = np.array([[0, 300], [65535, 7]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_ids(tmp_path / "deep.png").tolist() == deep.tolist()
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9] * 256)
    palette.putdata([3, 1])
    palette.save(tmp_path / "palette.png")
    assert read_ids(tmp_path / "palette.png").tolist() == [[3, 1]]
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour\.png is a RGB picture"):
        read_ids(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"absent\.png cannot be read"):
        read_ids(tmp_path / "absent.png")


def test_the_mark_of_some_editors_is_no_part_of_a_name(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")
    assert read_classes(tmp_path / "train.txt") == ("cat", "dog") == tuple(read_list(tmp_path / "train.txt", "set"))


def test_lists_and_class_files(tmp_path):
    (tmp_path / "train.txt").write_text("# stems\na\n\n b \n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n\n")
    assert read_list(tmp_path / "train.txt", "set") == ["a", "b"]
    with pytest.raises(DataError, match=r"set has no split 'val'.*splits there: train\."):
        read_list(tmp_path / "val.txt", "set")
    assert read_classes(tmp_path / "classes.txt") == ("cat", "dog")
    with pytest.raises(DataError, match="'cat' comes twice"):
        read_classes(tmp_path / "classes.txt", ["cat", "dog", "cat"])
    with pytest.raises(DataError, match=r"no\.txt is missing"):
        read_classes(tmp_path / "no.txt")


def test_ids_in_grey_of_few_bits_are_refused(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    file = tmp_path / "ids.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 4, 0, 0, 0, 0))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0\x1b")) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="grey PNG of 4 bits a pixel"):
        read_ids(file)
    assert read_ids(file, is_grey=True).tolist() == [[17, 187]]
