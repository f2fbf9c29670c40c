"""Differences with their intervals, one line each, on either side of no difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from ..errors import DataError
from .canvas import FAINT, INK, PAPER, TRACK, Colour, fit_text, font_of, nice_ticks, text_width, wrap_text
from .palette import OKABE_ITO

__all__ = ["Interval", "draw_intervals"]

WORSE, BETTER, OPEN = OKABE_ITO[1], OKABE_ITO[5], (120, 120, 120)
TEXT, ROW = 15, 26


@dataclass(frozen=True)
class Interval:
    """One line.

    Args:
        name: Shown at the left.
        value: Where the dot stands; positive is better.
        low, high: Ends of the bar.
        note: Shown at the right, such as a count.
    """

    name: str
    value: float
    low: float
    high: float
    note: str = ""

    @property
    def colour(self) -> Colour:
        """Green where the interval is above 0, orange where below, grey where it holds 0."""
        return BETTER if self.low > 0 else WORSE if self.high < 0 else OPEN


def draw_intervals(rows: Sequence[Interval], title: str, axis: str, width: int = 820) -> Image.Image:
    """Draw rows from top to bottom over one axis with a line at 0.

    Args:
        rows: At least one.
        title: First line.
        axis: What the axis shows, below it.
        width: Of the picture in pixels.
    Raises:
        DataError: No row, or a value that is not finite or outside its interval by more than rounding.
    """
    if not rows:
        raise DataError("a picture of intervals got 0 rows; give at least one.")
    for row in rows:
        if not row.low - 1e-9 <= row.high < float("inf") or row.value != row.value or row.low == -float("inf"):
            raise DataError(
                f"row '{row.name}' has {row.low} to {row.high} around {row.value}; give finite bounds in order."
            )
    low = min(0.0, *(min(r.low, r.value) for r in rows))
    high = max(0.0, *(max(r.high, r.value) for r in rows))
    margin = 0.04 * (high - low) or 0.1
    low, high = low - margin, high + margin
    names = min(max(text_width(r.name, TEXT) for r in rows), width // 3)
    notes = max(text_width(r.note, TEXT) for r in rows)
    left, right = names + 2 * TEXT, width - notes - 2 * TEXT
    lines = wrap_text(axis, TEXT, width - 2 * TEXT)
    top = round(TEXT * 2.6)
    bottom = top + ROW * len(rows)
    picture = Image.new("RGB", (width, bottom + round(TEXT * 2) + len(lines) * round(TEXT * 1.5)), PAPER)
    pen = ImageDraw.Draw(picture)

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    pen.text((TEXT, TEXT), fit_text(title, TEXT, width - 2 * TEXT), INK, font_of(TEXT), anchor="lm")
    for tick in nice_ticks(low, high, False):
        pen.line((across(tick), top, across(tick), bottom), fill=TRACK)
        pen.text((across(tick), bottom + TEXT // 3), f"{tick:+g}" if tick else "0", FAINT, font_of(TEXT), anchor="mt")
    pen.line((across(0), top, across(0), bottom), fill=INK, width=2)
    for number, row in enumerate(rows):
        y = top + ROW * number + ROW // 2
        pen.text((TEXT, y), fit_text(row.name, TEXT, names), INK, font_of(TEXT), anchor="lm")
        pen.line((across(row.low), y, across(row.high), y), fill=row.colour, width=4)
        x = across(row.value)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=row.colour)
        pen.text((width - TEXT, y), row.note, FAINT, font_of(TEXT), anchor="rm")
    for number, line in enumerate(lines):
        pen.text(
            (TEXT, bottom + round(TEXT * 1.8) + number * round(TEXT * 1.5)), line, FAINT, font_of(TEXT), anchor="lt"
        )
    return picture
