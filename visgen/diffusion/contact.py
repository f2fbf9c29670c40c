"""A contact sheet: pictures down, instructions across, and in each cell what the model drew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import DataError
from .codec import Letterbox
from .config import FAST, Sampling

if TYPE_CHECKING:
    from .model import InstructDiffusion

__all__ = ["contact_sheet"]

GAP, LINE = 4, 12  # pixels between cells, and per line of a heading


def contact_sheet(
    model: InstructDiffusion,
    photographs: Sequence[Tensor],
    instructions: Sequence[str],
    *,
    cell: int = 128,
    sampling: Sampling = FAST,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Image.Image:
    """Draw every instruction for every photograph, as the model drew it.

    Args:
        model: The instruction model.
        photographs: Images (3, H, W) in [0, 1] of any sizes.
        instructions: Sentences, as the model reads them.
        cell: Side of a cell in pixels.
        sampling: How answers are drawn.
        seed: Of the noise.
        progress: Called with (photographs done, photographs in all).
    Raises:
        DataError: No photograph or no instruction.
    """
    if not photographs or not instructions:
        raise DataError(f"{len(photographs)} photographs and {len(instructions)} instructions; give one of each.")
    font = ImageFont.load_default(size=10)
    headings = [_wrapped(text, cell, font) for text in ["photograph", *instructions]]
    top = LINE * max(len(lines) for lines in headings) + 2 * GAP
    columns, rows = len(instructions) + 1, len(photographs)
    sheet = Image.new("RGB", (columns * (cell + GAP) + GAP, top + rows * (cell + GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    for column, lines in enumerate(headings):
        for number, line in enumerate(lines):
            pen.text((GAP + column * (cell + GAP), GAP + number * LINE), line, fill="black", font=font)
    side = model.config.size
    for row, photograph in enumerate(photographs):
        size = (int(photograph.shape[1]), int(photograph.shape[2]))
        box = Letterbox.fit(size, (side, side))
        canvas = box.place_image(photograph) * 2 - 1
        drawn = model.answer(canvas[None], list(instructions), sampling, [seed] * len(instructions))
        for column, picture in enumerate([canvas, *drawn]):
            inside = picture[:, : box.inside[0], : box.inside[1]]
            sheet.paste(_enlarged(inside, cell, column > 0), (GAP + column * (cell + GAP), top + row * (cell + GAP)))
        if progress is not None:
            progress(row + 1, rows)
    return sheet


def _enlarged(picture: Tensor, cell: int, is_answer: bool) -> Image.Image:
    pixels = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    scale = cell / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    how = Image.Resampling.NEAREST if is_answer else Image.Resampling.BILINEAR  # answers are read pixel by pixel
    return Image.fromarray(np.ascontiguousarray(pixels)).resize(size, how)


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if font.getlength(longer) > width and line:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]
