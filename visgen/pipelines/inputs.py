"""Turn whatever a caller hands over into a lazy row of named pictures."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError, ImageError
from ..structures.image import IMAGE_SUFFIXES
from .url import fetch_bytes
from .video import VIDEO_SUFFIXES, frame_count, read_frames

__all__ = ["IMAGE_SUFFIXES", "Inputs", "Item", "chain_inputs", "open_inputs", "take_reading"]


@dataclass(frozen=True)
class Item:
    """One picture to come.

    Attributes:
        source: What the result and every error call it: the path, the address, "clip.mp4#frame=12&t=0.480",
            or "item 3" for a picture that has no name.
        read: Gives something `load_image` takes; raises ImageError.
        is_file: `source` is the path of a picture, so that a drawing can open it again later.
    """

    source: str
    read: Callable[[], Any]
    is_file: bool = False


@dataclass(frozen=True)
class Inputs:
    """Pictures to come, and the form in which their results go back.

    Attributes:
        items: Lazy; a picture is opened when its `read` is called.
        form: "one" result, a "list", or a lazy "stream".
        total: How many there are, or None when that is not known beforehand.
    """

    items: Iterator[Item]
    form: Literal["one", "list", "stream"]
    total: int | None


def open_inputs(inputs: Any, *, allow_private: bool = False, every: int = 1) -> Inputs:
    """Say what `inputs` is and give its pictures lazily.

    Args:
        inputs: One picture (path, http(s) address, bytes, binary file, PIL image, array (H, W, 3), tensor (3, H, W));
            a list or tuple of those; an array (B, H, W, 3) or tensor (B, 3, H, W), read as a list; a folder (searched
            recursively, sorted by path); a glob pattern ("photos/*.jpg", a stream when it matches videos); a video (a
            stream of frames); or any other iterable of pictures (a stream). Of an animated picture the first frame.
        allow_private: Let http(s) addresses on this machine and in private networks through.
        every: Of a video, take each so-many-th frame, the first one included.
    Raises:
        ConfigError: `every` is not a whole number from 1 on.
        ImageError: A folder or pattern without pictures, or a type that is none of the above.
    """
    if type(every) is not int or every < 1:
        raise ConfigError(f"every is {every!r}; it must be a whole number from 1 on, such as 5 for each fifth frame.")
    if isinstance(inputs, (str, os.PathLike)) and not _is_url(inputs):
        return _open_path(os.fspath(inputs), every)
    if _is_picture(inputs):
        return Inputs(iter([_item(inputs, 0, allow_private)]), "one", 1)
    rows = inputs if isinstance(inputs, (list, tuple)) else _split_batch(inputs)
    if rows is not None:
        return Inputs((_item(x, i, allow_private) for i, x in enumerate(rows)), "list", len(rows))
    if isinstance(inputs, Iterable) and not isinstance(inputs, (dict, set, frozenset)):
        return Inputs((_item(x, i, allow_private) for i, x in enumerate(inputs)), "stream", None)
    raise ImageError(
        f"cannot read pictures from a {type(inputs).__name__}; use a path, address, bytes, PIL image, array, tensor, "
        "list, folder, glob pattern, video or generator."
    )


def chain_inputs(inputs: Iterable[Any], **options: Any) -> Inputs:
    """Join several inputs, folders and videos among them, into one stream (what the command line does)."""
    return _joined([open_inputs(x, **options) for x in inputs])


def take_reading(options: dict[str, Any]) -> dict[str, Any]:
    """Take out of the options of a call those of `open_inputs`."""
    return {key: options.pop(key) for key in ("allow_private", "every") if key in options}


def _joined(opened: Sequence[Inputs]) -> Inputs:
    totals = [part.total for part in opened]
    total = None if any(t is None for t in totals) else sum(t for t in totals if t is not None)
    return Inputs((item for part in opened for item in part.items), "stream", total)


def _open_path(path: str, every: int) -> Inputs:
    if os.path.isdir(path):
        found = _folder_images(path)
        if not found:
            known = " ".join(sorted(IMAGE_SUFFIXES))
            raise ImageError(f"folder '{path}' holds no pictures; looked in it and below for {known}.")
        return Inputs((Item(p, partial(_same, p), is_file=True) for p in found), "list", len(found))
    if glob.has_magic(path) and not os.path.exists(path):
        found = sorted(p for p in glob.glob(path, recursive=True) if os.path.isfile(p))
        if not found:
            raise ImageError(f"pattern '{path}' matches no file; quote it and check the folder part.")
        if any(Path(p).suffix.lower() in VIDEO_SUFFIXES for p in found):
            return _joined([_open_file(p, every) for p in found])
        return Inputs((Item(p, partial(_same, p), is_file=True) for p in found), "list", len(found))
    return _open_file(path, every)


def _open_file(path: str, every: int) -> Inputs:
    if Path(path).suffix.lower() in VIDEO_SUFFIXES:
        if not os.path.exists(path):
            raise ImageError(f"video '{path}' does not exist; check the path.")
        if not os.path.isfile(path):  # a named pipe would be waited for
            raise ImageError(f"video '{path}' is no regular file; write it to one first.")
        count = frame_count(path)
        return Inputs(_frames(path, every), "stream", None if count is None else -(-count // every))
    return Inputs(iter([Item(path, partial(_same, path), is_file=True)]), "one", 1)


def _folder_images(folder: str) -> list[str]:
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        names = (f for f in files if not f.startswith(".") and Path(f).suffix.lower() in IMAGE_SUFFIXES)
        found += [os.path.join(root, name) for name in names]
    return sorted(found)


def _frames(path: str, every: int) -> Iterator[Item]:
    """Frames as items; a break in the file becomes one item that raises, so that `on_error` decides about it."""
    frames = read_frames(path, every)
    while True:
        try:
            index, seconds, picture = next(frames)
        except StopIteration:
            return
        except ImageError as error:
            yield Item(path, partial(_raise, error))
            return
        yield Item(f"{path}#frame={index}&t={seconds:.3f}", partial(_same, picture))


def _item(x: Any, index: int, allow_private: bool) -> Item:
    if _is_url(x):
        return Item(str(x), partial(fetch_bytes, str(x), allow_private=allow_private))
    if isinstance(x, (str, os.PathLike)):
        path = os.fspath(x)
        several = "a folder" if os.path.isdir(path) else None
        if glob.has_magic(path) and not os.path.exists(path):
            several = "a glob pattern"
        elif Path(path).suffix.lower() in VIDEO_SUFFIXES:
            several = "a video"
        if several:
            error = ImageError(
                f"item {index}, '{path}', is {several} inside a list; a list holds one picture per item, so that each "
                "result belongs to one; pass it by itself."
            )
            return Item(path, partial(_raise, error))
        return Item(path, partial(_same, path), is_file=True)
    name = getattr(x, "filename", None)  # PIL images opened from a file keep its path
    return Item(name if isinstance(name, str) and name else f"item {index}", partial(_picture, x, index))


def _picture(x: Any, index: int) -> Any:
    if hasattr(x, "read") and not _is_pil(x):
        try:
            data = x.read()
        except (OSError, ValueError) as error:  # closed, or open for writing only
            raise ImageError(f"item {index} is a file that cannot be read: {error}; open it again.") from error
        if not isinstance(data, bytes):
            raise ImageError(f"item {index} is a file opened as text; open it in binary mode ('rb').")
        return data
    return x


def _is_url(x: Any) -> bool:
    """Anything with a scheme, so that ftp:// and file:// meet the rule of `fetch_bytes` and not a missing file."""
    return isinstance(x, str) and "://" in x[:12]


def _is_pil(x: Any) -> bool:
    from PIL import Image

    return isinstance(x, Image.Image)


def _is_picture(x: Any) -> bool:
    if isinstance(x, (str, os.PathLike, bytes, bytearray, memoryview)) or _is_pil(x):
        return True
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return len(x.shape) != 4  # wrong ranks too: load_image says what is wrong
    return hasattr(x, "read") and not isinstance(x, (list, tuple))


def _split_batch(x: Any) -> Any:
    """Arrays and tensors of rank 4 are lists of pictures already."""
    return x if hasattr(x, "shape") and hasattr(x, "dtype") and len(x.shape) == 4 else None


def _same(x: Any) -> Any:
    return x


def _raise(error: Exception) -> Any:
    raise error
