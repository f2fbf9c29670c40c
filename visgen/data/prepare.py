"""What the prepare.py of each data set shares: arguments, hashes of archives, placing files, and the closing count."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DataError, VisgenError
from .catalogue import DatasetCard, read_manifest
from .source import build_source

__all__ = [
    "finish",
    "place",
    "require",
    "run",
    "shrink",
    "stable_order",
    "verify_archives",
    "write_lines",
    "write_photo",
    "write_png",
]


def run(
    script: str,
    prepare: Callable[[argparse.Namespace], None],
    *options: tuple[str, dict],
    argv: Sequence[str] | None = None,
) -> int:
    """Run the main program of a prepare.py.

    It takes SOURCE (the unpacked public data set) and OUT, checks archives that lie beside SOURCE against the manifest,
    calls `prepare(arguments)`, opens the result with its reader, and compares the counts with the manifest.

    Args:
        script: `__file__` of the prepare.py; the manifest lies beside it.
        prepare: Writes arguments.out from arguments.source.
        options: Further arguments: name and keywords of argparse's add_argument.
        argv: Arguments; those of the process by default.
    Returns:
        Exit status: 0, or 2 with a message for what the user can mend.
    """
    card = read_manifest(Path(script).resolve().parent)
    parser = argparse.ArgumentParser(description=f"Prepare {card.title}. Terms: {card.terms}. Page: {card.home}")
    parser.add_argument("source", type=Path, help="folder of the unpacked public data set")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--partial", action="store_true", help="accept other counts than those of the full public set")
    for name, keywords in options:
        parser.add_argument(name, **keywords)
    arguments = parser.parse_args(argv)
    try:
        require(arguments.source, "the unpacked data set")
        for line in verify_archives(card, arguments.source):
            print(line)
        prepare(arguments)
        for line in finish(card, arguments.out, arguments.partial):
            print(line)
    except VisgenError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def finish(card: DatasetCard, out: Path, partial: bool = False) -> list[str]:
    """Open every split with its reader and give a line per count.

    Raises:
        DataError: A count differs from the manifest, unless `partial`.
    """
    lines = []
    for split, wanted in card.counts.items():
        try:
            found = len(build_source(f"{card.format}:{out}", split, **card.options))
        except DataError:
            if not partial:
                raise
            found = 0
        if found != wanted and not partial:
            raise DataError(
                f"{card.name}: split '{split}' has {found} samples, but the full public set has {wanted}; the download "
                "is incomplete, or pass --partial if you mean to use a part."
            )
        lines.append(f"{card.name} {split}: {found} samples" + ("" if found == wanted else f" of {wanted}"))
    return lines


def verify_archives(card: DatasetCard, source: Path) -> list[str]:
    """Compare archives in SOURCE or beside it with the hashes of the manifest; give a line for each that is there.

    Raises:
        DataError: A hash differs.
    """
    lines = []
    for entry in card.files:
        for folder in (source, source.parent):
            file = folder / str(entry["name"])
            if not file.is_file():
                continue
            for kind in ("sha256", "md5"):
                if entry.get(kind):
                    with file.open("rb") as stream:
                        found = hashlib.file_digest(stream, kind).hexdigest()
                    if found != entry[kind]:
                        raise DataError(f"{file} has {kind} {found}, but {entry[kind]} is expected; fetch it again.")
                    lines.append(f"{file.name}: {kind} as expected")
                    break
            else:
                lines.append(f"{file.name}: no hash is known for it")
            break
    return lines


def require(path: Path, what: str) -> Path:
    """Give the path if it exists; raises DataError naming what it should be."""
    if not path.exists():
        raise DataError(f"{path} does not exist; it should be {what}: see card.md for the layout that is expected.")
    return path


def place(source: Path, target: Path) -> None:
    """Put a file where the reader looks for it: a hard link where the disk allows it, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if target.samefile(source):
            return
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def stable_order(names: Iterable[str], key: str) -> list[str]:
    """Shuffle names by their hash with a key: the same on every machine, and a name keeps its place when others go."""
    return sorted(names, key=lambda name: hashlib.blake2b(f"{key}/{name}".encode(), digest_size=16).digest())


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list or class file, one line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def shrink(picture: Image.Image, side: int, resampling: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """Bring the longer side of a picture down to `side` pixels; a smaller picture stays as it is."""
    scale = side / max(picture.size)
    if scale >= 1:
        return picture
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), resampling)


def write_photo(path: Path, source: Path, side: int, quality: int) -> None:
    """Write a photograph as a JPEG whose longer side is at most `side` pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as picture:
        shrink(picture.convert("RGB"), side).save(path, quality=quality)


def write_png(path: Path, values: np.ndarray) -> None:
    """Write a map (H, W) as PNG: 8 bit for uint8, 16 bit for uint16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
