"""A result as files."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from PIL import Image

from ..errors import DataError
from .depth import DepthMap
from .png import write_atomically
from .segmentation import SemanticMap

if TYPE_CHECKING:
    from .result import Result

__all__ = ["save_result", "stem_of"]

LONGEST_STEM = 80  # bytes; leaves room for label set and ending under the 255 that file systems allow


def stem_of(source: str | None) -> str:
    """Give a file stem for a source: the name without folder and ending, with anything unusual turned to "_"."""
    if not source:
        return "image"
    path = unquote(urlsplit(source).path) if "://" in source else source
    name = re.split(r"[\\/]", path.rstrip("\\/"))[-1]
    stem = name.rsplit(".", 1)[0] if "." in name[1:] else name
    frame = name[len(stem) :].partition("#")[2]  # "walk.mp4#12" is frame 12 of a video
    clean = re.sub(r"[^\w.-]+", "_", f"{stem}_{frame}" if frame else stem).strip("._-")
    return clean.encode("utf-8", "ignore")[:LONGEST_STEM].decode("utf-8", "ignore") or "image"


def save_result(result: Result, folder: Path) -> list[Path]:
    """Write the files that `Result.save` describes."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"'{folder}' is a file; Result.save needs a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    photo = result.picture()
    files: dict[str, bytes] = {}
    if photo is not None or result.answers():
        files["overview.png"] = _png(result.plot(photo))
    for task, label_set, value in result.answers():
        name = f"{task}-{stem_of(label_set)}" if label_set else task
        while f"{name}.png" in files:  # "a b" and "a/b" would share a file
            name += "_"
        files[f"{name}.png"] = _png(value.draw(photo))
        if isinstance(value, SemanticMap):
            files[f"{name}-ids.png"] = value.to_png()
        if isinstance(value, DepthMap):
            exact = value.fits_png()
            files[f"{name}-mm.png" if exact else f"{name}.npz"] = value.to_png() if exact else value.to_npz()
    key = _key(result.source)
    stem = _free_stem(folder, stem_of(result.source), [*files, "result.json"], key)
    written = [write_atomically(folder / f"{stem}-{ending}", data) for ending, data in files.items()]
    names = [path.name for path in written]
    text = json.dumps({**result.to_dict(), "saved": {"source_key": key, "files": names}}, allow_nan=False)
    before = _saved(folder / f"{stem}-result.json").get("files")
    described = write_atomically(folder / f"{stem}-result.json", text.encode("utf-8"))
    for name in before if isinstance(before, list) else ():  # maps of an answer that is no longer there
        if isinstance(name, str) and name.startswith(f"{stem}-") and name == Path(name).name and name not in names:
            (folder / name).unlink(missing_ok=True)
    return [*written, described]


def _free_stem(folder: Path, stem: str, endings: list[str], key: str | None) -> str:
    """Give the first of stem, stem-1, stem-2, ... that is free or belongs to the same source."""
    number, candidate = 0, stem
    while True:
        record = folder / f"{candidate}-result.json"
        if record.is_file():
            if key is not None and _saved(record).get("source_key") == key:
                return candidate
        elif not any((folder / f"{candidate}-{ending}").exists() for ending in endings):
            return candidate
        number += 1
        candidate = f"{stem}-{number}"


def _key(source: str | None) -> str | None:
    """Give what tells sources apart: a digest of the absolute path or the address; None when the source has no name."""
    if not source:
        return None
    whole = source if "://" in source else str(Path(source).absolute())
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _saved(record: Path) -> dict[str, Any]:
    """What save_result noted in a record; {} where it did not write it, so that it is not ours to replace."""
    try:
        return dict(json.loads(record.read_bytes())["saved"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()
