"""Pictures turned to night as files, and day beside night on one sheet."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from ...data.readers.files import IMAGE_SUFFIXES, read_pixels
from ...errors import ConfigError, DataError
from ...structures.png import encode_png
from .generator import NightGenerator

__all__ = ["day_night_sheet", "turn_to_night"]

SHEET = "sheet.png"
LEAST_SIDE = 16  # pixels that a generator takes


def day_night_sheet(pairs: Sequence[tuple[Tensor, Tensor]], columns: int = 4, height: int = 120) -> Image.Image:
    """Put pairs of pictures on one sheet: day above its night, `columns` pairs in a row.

    Args:
        pairs: Day and night (3, H, W) uint8 of each picture.
        columns: Pairs side by side.
        height: Of each picture on the sheet, in pixels; wider pictures than 16:9 are cut in the middle.
    Raises:
        DataError: No pair.
    """
    if not pairs:
        raise DataError("a sheet of day and night got 0 pairs; give at least one.")
    gap, width = 4, height * 16 // 9
    rows = -(-len(pairs) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (2 * height + 3 * gap) + gap), (255, 255, 255))
    for number, pair in enumerate(pairs):
        left = gap + number % columns * (width + gap)
        top = gap + number // columns * (2 * height + 3 * gap)
        for place, picture in enumerate(pair):
            tile = _tile(picture, height, width)
            sheet.paste(tile, (left + (width - tile.width) // 2, top + place * (height + gap)))
    return sheet


def _tile(picture: Tensor, height: int, width: int) -> Image.Image:
    scaled = max(1, round(picture.shape[2] * height / picture.shape[1]))
    small = resize(picture, [height, scaled], antialias=True)
    cut = max(0, (scaled - width) // 2)
    return Image.fromarray(np.ascontiguousarray(small[..., cut : cut + width].permute(1, 2, 0).numpy()))


def turn_to_night(
    generator: NightGenerator, pictures: str | Path, out: str | Path, count: int | None = None, on_sheet: int = 16
) -> list[Path]:
    """Write the night of each picture of a folder as PNG, and a sheet of the first pairs.

    Args:
        generator: What turns day to night.
        pictures: Folder of pictures; folders inside it are not entered.
        out: Folder to make; nothing may be there yet.
        count: First so many pictures by name; None takes all.
        on_sheet: Pairs on `out/sheet.png`.
    Returns:
        The files written, one for each picture.
    Raises:
        ConfigError: A count below 1.
        DataError: No pictures, or something is at `out` already.
        ImageError: A picture cannot be read; nothing is written then.
    """
    if count is not None and count < 1:
        raise ConfigError(f"count is {count}; turn at least 1 picture to night, or leave it out for all.")
    source, folder = Path(pictures), Path(out)
    found = [p for p in source.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES] if source.is_dir() else []
    found = sorted(p for p in found if not p.name.startswith("."))[:count]
    if not found:
        raise DataError(f"'{source}' holds no pictures; give a folder with files such as .jpg or .png.")
    if folder.exists():
        raise DataError(f"'{folder}' is there already; choose a new folder.")
    alike = Counter(path.stem for path in found)  # a.jpg and a.png stay two
    names = [f"{path.stem if alike[path.stem] == 1 else path.name}.png" for path in found]
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (scratch / "night").mkdir()
        pairs: list[tuple[Tensor, Tensor]] = []
        for path, name in zip(found, names, strict=True):
            day = read_pixels(path)
            if min(day.shape[1:]) < LEAST_SIDE:
                raise DataError(
                    f"'{path}' has {day.shape[2]} x {day.shape[1]} pixels; a night needs {LEAST_SIDE} or more on each "
                    "side: take it out of the folder."
                )
            night = (generator(day[None].float() / 255)[0] * 255).round().to(torch.uint8)
            (scratch / "night" / name).write_bytes(encode_png(night.permute(1, 2, 0).numpy()))
            if len(pairs) < on_sheet:
                pairs.append((day, night))
        day_night_sheet(pairs).save(scratch / SHEET)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return [folder / "night" / name for name in names]
