"""One sheet with the photograph and every answer."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from .canvas import FAINT, INK, PAPER, fit_text, font_of

__all__ = ["overview_sheet"]

TEXT = 16
MARGIN = 20
TITLE = 34


def overview_sheet(heading: str, note: str, panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Lay titled pictures on one sheet.

    Args:
        heading: The first line, such as the file name.
        note: The line below it, such as size and time.
        panels: (title, picture), in reading order; at least one. The columns are chosen so that the sheet comes nearest to 3:2.
    """
    column = max(p.width for _, p in panels)
    choices = [(_layout(panels, n, column), n) for n in range(1, len(panels) + 1)]
    (rows, height), columns = min(choices, key=lambda c: abs(_aspect(c[0][1], c[1], column)))
    width = columns * (column + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    room = width - 2 * MARGIN
    pen.text((MARGIN, MARGIN), fit_text(heading, TEXT + 6, room), INK, font_of(TEXT + 6), anchor="la")
    pen.text((MARGIN, MARGIN + 30), fit_text(note, TEXT - 2, room), FAINT, font_of(TEXT - 2), anchor="la")
    for index, (title, picture) in enumerate(panels):
        left = MARGIN + (index % columns) * (column + MARGIN)
        top = rows[index // columns]
        pen.text((left, top + TITLE // 2), fit_text(title, TEXT, column), INK, font_of(TEXT), anchor="lm")
        sheet.paste(picture, (left, top + TITLE))
    return sheet


def _layout(panels: Sequence[tuple[str, Image.Image]], columns: int, column: int) -> tuple[list[int], int]:
    """Give the top of each row and the height of the sheet."""
    tops, top = [], MARGIN + 56
    for start in range(0, len(panels), columns):
        tops.append(top)
        top += TITLE + max(p.height for _, p in panels[start : start + columns]) + MARGIN
    return tops, top


def _aspect(height: int, columns: int, column: int) -> float:
    """Give how far width / height is from 3:2, as a ratio above 0 either way."""
    ratio = (columns * (column + MARGIN) + MARGIN) / height / 1.5
    return max(ratio, 1 / ratio)
