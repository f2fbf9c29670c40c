"""One sheet with the photograph and every answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from .canvas import FAINT, INK, PAPER, fit_text, font_of

__all__ = ["Panel", "overview_sheet"]

HEADING, NOTE, TITLE = 28, 18, 22  # text heights in pixels
MARGIN = 28
ABOVE = round(TITLE * 1.8)  # room for a panel's title
SHAPE = 1.6  # width over height that a sheet should come near to: that of a screen
SNAP = 0.25  # a panel moves down by up to this share of a column to start level with another


class Panel(NamedTuple):
    """A titled picture; one with `below` stays right below the panel before it."""

    title: str
    picture: Image.Image
    below: bool = False


def overview_sheet(heading: str, note: str, panels: Sequence[Panel], column: int | None = None) -> Image.Image:
    """Lay titled pictures on one sheet.

    Each panel goes to the highest free place, the leftmost of several; a picture wider than a column takes as many as
    it needs. The number of columns is the one that leaves little paper empty on a sheet of a screen's shape.

    Args:
        heading: The first line, such as the file name.
        note: The line below it, such as size and time.
        panels: In reading order; none gives the two lines alone.
        column: Width of one column in pixels; None takes the widest picture's.
    """
    wide = column or max((p.picture.width for p in panels), default=640)
    head = MARGIN + round(HEADING * 1.4) + round(NOTE * 1.6) + MARGIN // 2
    blocks = _blocks(panels)
    spans = [max(-(-(p.picture.width + MARGIN) // (wide + MARGIN)) for p in block) for block in blocks]
    fewest = max(spans, default=1)
    choices = [_layout(blocks, spans, n, wide, head) for n in range(fewest, max(fewest, sum(spans)) + 1)]
    places, width, height = min(choices, key=lambda c: _cost(panels, c[1], c[2] - head))
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    room = width - 2 * MARGIN
    pen.text((MARGIN, MARGIN), fit_text(heading, HEADING, room), INK, font_of(HEADING), anchor="la")
    below = MARGIN + round(HEADING * 1.4)
    pen.text((MARGIN, below), fit_text(note, NOTE, room), FAINT, font_of(NOTE), anchor="la")
    for (title, picture, _), (left, top) in zip(panels, places, strict=True):
        title = fit_text(title, TITLE, max(wide, picture.width))
        pen.text((left, top + ABOVE // 2), title, INK, font_of(TITLE), anchor="lm")
        sheet.paste(picture, (left, top + ABOVE))
    return sheet


def _blocks(panels: Sequence[Panel]) -> list[list[Panel]]:
    blocks: list[list[Panel]] = []
    for panel in panels:
        if panel.below and blocks:
            blocks[-1].append(panel)
        else:
            blocks.append([panel])
    return blocks


def _layout(
    blocks: Sequence[Sequence[Panel]], spans: Sequence[int], columns: int, wide: int, head: int
) -> tuple[list[tuple[int, int]], int, int]:
    """Give the (left, top) of each panel with this many columns, and the width and height of the sheet."""
    ends = [head] * columns
    spots: list[tuple[int, int, int]] = []  # first column, top, bottom
    for block, span in zip(blocks, spans, strict=True):
        free = [max(ends[at : at + span]) for at in range(columns - span + 1)]
        at = free.index(min(free))
        level = [other for _, other, _ in spots if 0 <= other - free[at] <= SNAP * wide]
        top = max(level, default=free[at])
        bottom = top + sum(ABOVE + panel.picture.height + MARGIN for panel in block)
        spots.append((at, top, bottom))
        ends[at : at + span] = [bottom] * span
    height = max(ends)
    for index in reversed(range(len(blocks))):  # and where there is room, earlier ones start level with later ones
        at, top, bottom = spots[index]
        under = [
            t for (a, t, _), n in zip(spots, spans, strict=True) if t >= bottom and a < at + spans[index] and at < a + n
        ]
        room = min(under, default=height) - bottom
        down = max((t - top for _, t, _ in spots if 0 <= t - top <= min(room, SNAP * wide)), default=0)
        spots[index] = (at, top + down, bottom + down)
    places: list[tuple[int, int]] = []
    for block, (at, top, _) in zip(blocks, spots, strict=True):
        for panel in block:
            places.append((MARGIN + at * (wide + MARGIN), top))
            top += ABOVE + panel.picture.height + MARGIN
    used = max((i + 1 for i, end in enumerate(ends) if end > head), default=1)
    return places, MARGIN + used * (wide + MARGIN), height


def _cost(panels: Sequence[Panel], width: int, height: int) -> float:
    if not panels:
        return 0.0
    area = sum((p.picture.width + MARGIN) * (p.picture.height + ABOVE + MARGIN) for p in panels)
    return 1 - area / (width * height) + 0.3 * abs(float(np.log(width / height / SHAPE)))
