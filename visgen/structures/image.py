"""Any picture a user may hold to one form: RGB float32 (3, H, W) in [0, 1]."""

from __future__ import annotations

import io
import os
import stat
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import DataError, ImageError, nearest

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "load_image", "open_picture", "picture_of"]

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp"),
    *(".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif"),
)
"""Names of files that are taken for pictures when a folder is read."""
MAX_PIXELS = 64_000_000  # an 8000 x 8000 photograph; as float32 RGB it takes 768 MB
_UNREADABLE = (  # what Pillow raises on torn and on hostile files
    *(OSError, ValueError, SyntaxError, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)

# What is decoded from files and bytes. Formats that run a program (EPS, PDF) or fetch other files stay out.
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

ROUNDING = 1e-4  # float pictures that resizing pushed past 0 or 1 by this much are cut back, more is an error

ORIENTATION = 0x0112
UPRIGHT = {  # EXIF 2.32, tag 0x0112: what turns the stored rows into the picture as seen
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(x: Any, color: str = "rgb", max_pixels: int = MAX_PIXELS) -> Tensor:
    """Give any picture as RGB float32.

    Args:
        x: One of
            a path (str or Path) or the bytes of an AVIF, BMP, GIF, ICO, JPEG, JPEG 2000, PNG, PPM, TIFF or WebP file;
            a PIL image (of an animation: the frame it stands at; files and bytes give the first frame);
            an array (H, W, 3) or grey (H, W) or (H, W, 1), uint8 or float in [0, 1];
            a tensor (3, H, W) or grey (1, H, W), uint8 or float in [0, 1].
        color: Channel order of arrays and tensors, "rgb" or "bgr"; files, bytes and PIL images know their own.
        max_pixels: The largest height x width; files are refused before they are decoded.
    Returns:
        (3, H, W) float32 in [0, 1]; on the device of a tensor, else on the CPU. Files, bytes and PIL images are turned
        upright by their EXIF orientation (an unreadable EXIF block counts as upright), transparent pictures are laid on
        white, 16-bit grey is divided by 65535, colour profiles are ignored.
    Raises:
        ImageError: It cannot be read, is larger than `max_pixels`, or its meaning is ambiguous; the message names the
            source.
    """
    if color not in ("rgb", "bgr"):
        raise ImageError(f"color is {color!r}; it must be 'rgb' or 'bgr'.")
    if isinstance(x, Tensor):
        return _from_tensor(x, color, max_pixels)
    if isinstance(x, np.ndarray):
        return _from_array(x, color, max_pixels)
    if isinstance(x, Image.Image):
        return _from_pil(x, _name_of(x), max_pixels)
    if isinstance(x, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(x), f"the {len(x)} bytes given", len(x), max_pixels)
    if isinstance(x, (str, os.PathLike)):
        if not os.fspath(x):
            raise ImageError("the path is empty; give the path of a picture, or '.' for the folder at hand.")
        return _from_path(Path(os.fspath(x)), max_pixels)
    raise ImageError(
        f"input is a {type(x).__module__}.{type(x).__name__}; load_image reads a path, bytes, a PIL image, an array "
        "(H, W, 3) or a tensor (3, H, W)."
    )


@contextmanager
def open_picture(
    source: Any, name: str, broken: str = "cannot be read", formats: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """Open a file of a data set as it is stored; it is decoded inside the `with`.

    Args:
        source: A path or a stream.
        name, broken: What errors call it, and say of one that cannot be decoded.
        formats: Names of formats as Pillow has them; None for all.
    Raises:
        ImageError: It cannot be opened or decoded, or it has more pixels than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=formats) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ImageError(
                        f"{name} has {picture.width} x {picture.height} pixels; at most {MAX_PIXELS:,} are read: "
                        "shrink it."
                    )
                yield picture
    except DataError:
        raise
    except _UNREADABLE as error:
        raise ImageError(f"{name} {broken}: {error}; replace the file or take it out of the set.") from error


def picture_of(image: Any) -> np.ndarray:
    """Give a picture as uint8 (H, W, 3), for drawing; anything that `load_image` reads will do."""
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    values = load_image(image).detach().cpu()
    return (values * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _from_path(path: Path, max_pixels: int) -> Tensor:
    text = str(path)
    if text.startswith(("http:/", "https:/")):
        raise ImageError(f"'{text}' is a web address; load_image reads files; give addresses to visgen.pipeline.")
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"'{text}' is a folder; load_image reads one file; give folders to visgen.pipeline.")
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for a writer
            raise ImageError(f"'{text}' is no regular file but a pipe or a device; read it, and pass its bytes.")
        size = status.st_size
        stream = path.open("rb")
    except ImageError:
        raise
    except FileNotFoundError as error:
        if path.is_symlink():
            raise ImageError(f"'{text}' is a link to a file that does not exist.") from error
        beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        raise ImageError(f"'{text}' does not exist{nearest(path.name, beside)}") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"'{text}' cannot be opened: {error}; check the path and its permissions.") from error
    with stream:
        return _decode(stream, f"'{text}'", size, max_pixels)


def _decode(stream: Any, source: str, length: int, max_pixels: int) -> Tensor:
    if length == 0:
        raise ImageError(f"{source} is empty (0 bytes); write or download the file again.")
    Image.init()
    try:
        picture = Image.open(stream, formats=[name for name in FORMATS if name in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{source} is larger than Pillow's own limit: {error}; scale it down first.") from error
    except Exception as error:  # decoders raise many kinds on hostile headers
        why = "" if isinstance(error, UnidentifiedImageError) else f": {error}"  # which names an object of Python
        raise ImageError(f"{source} is not an image of a known format ({', '.join(FORMATS)}){why}.") from error
    with picture:
        return _from_pil(picture, source, max_pixels)


def _name_of(picture: Image.Image) -> str:
    name = getattr(picture, "filename", "")
    return f"'{name}'" if name else f"the PIL image of mode {picture.mode}"


def _check_pixels(height: int, width: int, source: str, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageError(
            f"{source} has {width} x {height} = {width * height:,} pixels; the limit is {max_pixels:,}; scale it down, "
            "or raise max_pixels."
        )
    if height * width == 0:
        raise ImageError(f"{source} has {width} x {height} pixels; an image needs at least one.")


def _from_pil(picture: Image.Image, source: str, max_pixels: int) -> Tensor:
    _check_pixels(picture.height, picture.width, source, max_pixels)
    try:
        picture.load()
        try:  # after load: the TIFF decoder turns its pictures itself and then drops the tag
            turn = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))
        except Exception:  # a broken EXIF block: every viewer shows such pictures as stored
            turn = None
        _check_pixels(picture.height, picture.width, source, max_pixels)  # an ICO tells its true size only now
        values = _pixels(picture if turn is None else picture.transpose(turn), source)
    except ImageError:
        raise
    except Exception as error:  # decoders raise many kinds on torn files
        raise ImageError(
            f"{source} cannot be decoded, it is torn or broken: {error}; write or download it again."
        ) from error
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def _pixels(picture: Image.Image, source: str) -> np.ndarray:
    """Give a loaded PIL image as float32 (H, W, 3) in [0, 1]."""
    mode = picture.mode
    if mode.startswith("I;16"):
        grey = np.array(picture).astype(np.float32)
        clear = picture.info.get("transparency")  # of a PNG: the level that is transparent
        return _grey_to_rgb((grey if clear is None else np.where(grey == clear, 65535, grey)) / np.float32(65535))
    if mode in ("I", "F"):
        values = np.array(picture).astype(np.float64)
        # 16-bit PPM and some 16-bit PNG arrive as 32-bit integers
        white = 65535 if mode == "I" and picture.format in ("PPM", "PNG") else 1
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= white):
            raise ImageError(
                f"{source} has 32-bit pixels (mode {mode}) from {low:g} to {high:g}, and no white level is known; "
                "scale them to [0, 1] and pass the float array."
            )
        return _grey_to_rgb((values / white).astype(np.float32))
    if picture.has_transparency_data or mode in ("La", "RGBa"):
        above = (picture.convert("LA") if mode == "La" else picture).convert("RGBA")  # La turns into LA alone
        ground = Image.new("RGBA", above.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, above)
    return np.array(picture.convert("RGB")).astype(np.float32) / 255


def _grey_to_rgb(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2)


def _from_array(values: np.ndarray, color: str, max_pixels: int) -> Tensor:
    if isinstance(values, np.ma.MaskedArray):
        raise ImageError(
            f"array of shape {values.shape} is masked; an image has a value everywhere; pass array.filled(0)."
        )
    values = np.asarray(values)  # a numpy.matrix would stay two-dimensional whatever is done to it
    shape = values.shape
    name = f"array of shape {shape}"
    if values.ndim == 4:
        raise ImageError(f"{name} looks like a batch; load_image reads one image (H, W, 3); pass list(array).")
    if values.ndim == 3 and shape[2] == 4:
        raise ImageError(
            f"{name} has 4 channels, and alpha cannot be told from a fourth band; pass array[..., :3], or "
            "PIL.Image.fromarray(array) to lay it on white."
        )
    if values.ndim == 3 and shape[2] not in (1, 3) and shape[0] in (1, 3):
        raise ImageError(f"{name} has its channels first; arrays are (H, W, 3); pass array.transpose(1, 2, 0).")
    if values.ndim not in (2, 3) or (values.ndim == 3 and shape[2] not in (1, 3)):
        raise ImageError(f"{name} is no image; arrays are (H, W, 3) or grey (H, W).")
    _check_pixels(shape[0], shape[1], name, max_pixels)
    fix = {
        "u": "divide by its white level (65535 for full 16 bit) and pass floats",
        "i": "pass array.astype(numpy.uint8) if it holds 0..255",
        "b": "pass array.astype(numpy.float32)",
    }
    if values.dtype != np.uint8 and values.dtype.kind != "f":
        way_out = fix.get(values.dtype.kind, "convert it to uint8 or float")
        raise ImageError(f"{name} has dtype {values.dtype}; it must be uint8, or float in [0, 1]; {way_out}.")
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is refused below as infinite
            values = values.astype(np.float32)
    grey = values if values.ndim == 3 else values[:, :, None]
    tensor = torch.from_numpy(np.array(grey.transpose(2, 0, 1), order="C"))
    return _finish(tensor, name, "array", color)


def _from_tensor(values: Tensor, color: str, max_pixels: int) -> Tensor:
    shape = tuple(values.shape)
    name = f"tensor of shape {shape}"
    if values.layout != torch.strided or values.is_meta:
        layout = str(values.layout).removeprefix("torch.")
        raise ImageError(f"{name} is {layout} on {values.device}; load_image reads a dense tensor that holds values.")
    if values.ndim == 4:
        raise ImageError(f"{name} looks like a batch; load_image reads one image (3, H, W); pass list(tensor).")
    if values.ndim == 2:
        raise ImageError(
            f"{name} has no channel axis; tensors are (3, H, W), or (1, H, W) for grey; pass tensor[None]."
        )
    if values.ndim == 3 and shape[0] not in (1, 3) and shape[2] in (1, 3):
        raise ImageError(f"{name} has its channels last; tensors are (3, H, W); pass tensor.permute(2, 0, 1).")
    if values.ndim != 3 or shape[0] not in (1, 3):
        raise ImageError(f"{name} is no image; tensors are (3, H, W), or (1, H, W) for grey.")
    _check_pixels(shape[1], shape[2], name, max_pixels)
    if values.dtype != torch.uint8 and not values.is_floating_point():
        raise ImageError(
            f"{name} has dtype {values.dtype}; it must be uint8, or float in [0, 1]; pass tensor.to(torch.uint8) if it "
            "holds 0..255."
        )
    return _finish(values, name, "tensor", color)


def _finish(values: Tensor, name: str, kind: str, color: str) -> Tensor:
    """Scale (1 or 3, H, W) uint8 or float to float32 in [0, 1], in RGB order, in memory of its own."""
    if values.dtype == torch.uint8:
        values = values.float() / 255
    else:
        values = values.float()
        low, high = (float(v) for v in values.detach().aminmax())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(f"{name} holds NaN or infinity; replace them before the image is used.")
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise ImageError(
                f"{name} is float from {low:g} to {high:g}; float images lie in [0, 1]; pass {kind} / 255 if they hold "
                "0..255, and undo any mean and std."
            )
        values = values.clamp(0, 1)
    if values.shape[0] == 1:
        return values.expand(3, -1, -1).contiguous()
    return values.flip(0) if color == "bgr" else values.contiguous()
