"""One sheet with the photograph and every answer."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from .canvas import FAINT, INK, PAPER, fit_text, font_of

__all__ = ["overview_sheet"]

HEADING, NOTE, TITLE = 28, 18, 22  # text heights in pixels
MARGIN = 28
ABOVE = round(TITLE * 1.8)  # room for a panel's title


def overview_sheet(heading: str, note: str, panels: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Lay titled pictures on one sheet.

    Each panel goes below the shortest column so far, a low one below the panel before it; the number of columns is the
    one that brings the sheet nearest to 3:2.

    Args:
        heading: The first line, such as the file name.
        note: The line below it, such as size and time.
        panels: (title, picture) in reading order; none gives the two lines alone.
    """
    column = max((p.width for _, p in panels), default=640)
    head = MARGIN + round(HEADING * 1.4) + round(NOTE * 1.6) + MARGIN // 2
    choices = [_layout(panels, n, column, head) for n in range(1, max(1, len(panels)) + 1)]
    places, width, height = min(choices, key=lambda c: max(c[1] / c[2] / 1.5, 1.5 * c[2] / c[1]))
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    room = width - 2 * MARGIN
    pen.text((MARGIN, MARGIN), fit_text(heading, HEADING, room), INK, font_of(HEADING), anchor="la")
    below = MARGIN + round(HEADING * 1.4)
    pen.text((MARGIN, below), fit_text(note, NOTE, room), FAINT, font_of(NOTE), anchor="la")
    for (title, picture), (left, top) in zip(panels, places, strict=True):
        pen.text((left, top + ABOVE // 2), fit_text(title, TITLE, column), INK, font_of(TITLE), anchor="lm")
        sheet.paste(picture, (left, top + ABOVE))
    return sheet


def _layout(
    panels: Sequence[tuple[str, Image.Image]], columns: int, column: int, head: int
) -> tuple[list[tuple[int, int]], int, int]:
    """Give the (left, top) of each panel with this many columns, and the width and height of the sheet."""
    ends = [head] * columns
    places = []
    at = 0
    for index, (_, picture) in enumerate(panels):
        if index == 0 or picture.height > column / 2:
            at = ends.index(min(ends))
        places.append((MARGIN + at * (column + MARGIN), ends[at]))
        ends[at] += ABOVE + picture.height + MARGIN
    used = sum(end > head for end in ends)
    return places, MARGIN + max(1, used) * (column + MARGIN), max(ends)
