"""What every picture is drawn with: display scale, text that stays readable, legends, bars and scales."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import DataError
from .image import picture_of
from .palette import ink_on

__all__ = [
    "Canvas",
    "LegendEntry",
    "beside",
    "blend",
    "edges",
    "fit_text",
    "font_of",
    "nice_ticks",
    "open_canvas",
    "panel_bars",
    "panel_legend",
    "panel_scale",
    "percent",
    "place_label",
    "short_number",
    "stack",
    "text_size",
    "text_width",
    "wrap_text",
]

Colour = tuple[int, int, int]
PAPER: Colour = (250, 250, 248)
INK: Colour = (34, 34, 34)
FAINT: Colour = (112, 112, 112)
TRACK: Colour = (226, 226, 222)

SHORTEST = 512  # smaller pictures are enlarged by a whole number to at least this long side, so that labels find room
LONGEST = 2048  # larger ones are reduced to it
LEGEND_LIMIT = 48  # classes listed before "and n more"


@dataclass(frozen=True)
class Canvas:
    """A photograph at display size, and the sizes that go with it.

    Args:
        picture: The photograph (h, w, 3) uint8 at display size.
        text: Text height in pixels.
        line: Line width in pixels.
        width: Width of the panels below, at least wide enough for a legend.
        factor: Display pixels per image pixel, (down, across).
    """

    picture: np.ndarray
    text: int
    line: int
    width: int
    factor: tuple[float, float]

    def enlarge(self, values: np.ndarray) -> np.ndarray:
        """Give a map (H, W) at display size; each display pixel takes the value of the image pixel under its centre."""
        height, width = self.picture.shape[:2]
        rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
        columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
        return values[rows][:, columns]


def open_canvas(image: Any, size: tuple[int, int] | None, long_side: int | None = None) -> Canvas:
    """Bring a photograph to display size.

    Args:
        image: Anything that `load_image` reads; None gives plain grey, and then `size` must be known.
        size: (height, width) of the value to be drawn; None when it has none.
        long_side: At most this many display pixels for the longer side; None means 2048. Below it, pictures under 512
            are enlarged by a whole number and the others keep their size.
    Raises:
        DataError: The photograph has another size than the value.
    """
    if image is None:
        if size is None:
            raise DataError("neither an image nor a size is given; drawing needs one of them.")
        photo = np.full((*size, 3), 96, dtype=np.uint8)
    else:
        photo = picture_of(image)
    height, width = photo.shape[:2]
    if size is not None and (height, width) != tuple(size):
        raise DataError(
            f"the image has {height} x {width} pixels (height x width) and the value {size[0]} x {size[1]}; draw a "
            "value over the image it belongs to."
        )
    longer = max(height, width)
    target = min(longer * -(-SHORTEST // longer), long_side or LONGEST)
    scale = target / longer
    shown = (max(1, round(width * scale)), max(1, round(height * scale)))
    if shown != (width, height):
        photo = np.asarray(Image.fromarray(photo).resize(shown, Image.Resampling.BICUBIC))
    text = text_size(target)
    return Canvas(photo, text, max(1, round(text / 9)), max(shown[0], 22 * text), (shown[1] / height, shown[0] / width))


def text_size(long_side: float) -> int:
    """Give the text height that suits a picture of this long side: 14 pixels at 512, 28 from 1912 on."""
    return max(14, min(28, round(14 + (long_side - SHORTEST) / 100)))


class _Font(ImageFont.FreeTypeFont):
    """Pillow's own font, which has no accents: letters that have some are drawn without, not as empty boxes."""

    def __init__(self, size: int) -> None:
        self.__dict__.update(vars(ImageFont.load_default(size=size)))

    def getlength(self, text: Any, *args: Any, **named: Any) -> float:
        return super().getlength(_without_accents(text), *args, **named)

    def getmask2(self, text: Any, *args: Any, **named: Any) -> Any:
        return super().getmask2(_without_accents(text), *args, **named)


def _without_accents(text: str) -> str:
    plain = text if text.isascii() else unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(c for c in plain if not unicodedata.combining(c))


@lru_cache(maxsize=32)
def font_of(size: int) -> Any:
    """Give Pillow's own scalable font, so that no font file has to be found."""
    return _Font(size)


def text_width(text: str, size: int) -> int:
    """Give the width of one line of text in pixels."""
    return int(np.ceil(font_of(size).getlength(text)))


def fit_text(text: str, size: int, width: int) -> str:
    """Shorten a text with "..." until it is at most `width` pixels wide; "" when not even one letter fits."""
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    low, high = 0, len(text)  # the longest start that still fits, by bisection
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle].rstrip() + "...", size) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "..." if low else ""


def percent(share: float) -> str:
    """Write a share for people: "12 %", "3.4 %", "< 0.1 %"."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def short_number(value: float) -> str:
    """Write a number for people, with three digits or all before the point, but never as 3e+03."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def nice_ticks(low: float, high: float, log: bool) -> list[float]:
    """Give round numbers within [low, high]: 1-2-5 steps (or finer) on a log scale, else about five even steps."""
    if log:
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        for steps in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7)):  # the finer steps where the coarse ones leave the scale bare
            ticks = [d for p in powers for m in steps if low <= (d := round(m * 10.0**p, 9)) <= high]
            if len(ticks) >= 3:
                break
        return ticks
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * min((1, 2, 2.5, 5, 10), key=lambda m: abs(m * power - rough))
    first = int(np.ceil(low / step - 1e-9))
    return [round(float(n * step), 9) for n in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def blend(picture: np.ndarray, colours: np.ndarray, where: np.ndarray, strength: float) -> np.ndarray:
    """Lay `colours` (h, w, 3) over `picture` with this strength in [0, 1], only `where` (h, w) is true."""
    mixed = picture * (1 - strength) + colours * strength
    return np.where(where[..., None], mixed.round(), picture).astype(np.uint8)


def edges(ids: np.ndarray, width: int) -> np.ndarray:
    """Mark the pixels (h, w) bool on the border between two ids, as a line of about `width` pixels."""
    line = np.zeros(ids.shape, dtype=bool)
    line[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    line[1:] |= ids[1:] != ids[:-1]
    for _ in range(width - 1):
        grown = line.copy()
        grown[:, :-1] |= line[:, 1:]
        grown[:-1] |= line[1:]
        line = grown
    return line


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend: colour (None: an empty frame), name, and a note set at the right."""

    colour: Colour | None
    name: str
    note: str = ""


def _sheet(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (width, max(1, height)), PAPER)
    return picture, ImageDraw.Draw(picture)


def panel_legend(entries: Sequence[LegendEntry], width: int, size: int) -> Image.Image:
    """Give a legend of this width: entries run down the columns; long names are shortened, never the notes."""
    shown = list(entries[:LEGEND_LIMIT])
    rest = len(entries) - len(shown)
    if rest > 0:
        shown.append(LegendEntry(None, f"and {rest} more"))
    if not shown:
        shown = [LegendEntry(None, "nothing found")]
    gap, swatch, row = size, round(size * 0.9), round(size * 1.7)
    note = max(text_width(entry.note, size) for entry in shown)
    name = max(text_width(entry.name, size) for entry in shown)
    room = width - gap
    fixed = swatch + size // 2 + (note + size if note else 0) + 2 * gap
    columns = max(1, min(len(shown), room // (fixed + name)))
    name = min(name, room // columns - fixed)
    column = min(room // columns, fixed + name + gap)
    rows = -(-len(shown) // columns)
    picture, pen = _sheet(width, rows * row + size)
    for index, entry in enumerate(shown):
        left = gap + (index // rows) * column
        middle = size // 2 + (index % rows) * row + row // 2
        box = (left, middle - swatch // 2, left + swatch, middle - swatch // 2 + swatch)
        pen.rectangle(box, fill=entry.colour, outline=FAINT if entry.colour is None else None)
        at = left + swatch + size // 2
        pen.text((at, middle), fit_text(entry.name, size, name), INK, font_of(size), anchor="lm")
        pen.text((at + name + size + note, middle), entry.note, FAINT, font_of(size), anchor="rm")
    return picture


def panel_bars(rows: Sequence[tuple[str, float | None]], width: int, size: int, colour: Colour) -> Image.Image:
    """Give (name, share) rows as labelled bars with percentages; a share of None gives the name alone."""
    gap, row = size, round(size * 1.9)
    note = text_width("100.0 %", size)
    name = min(max(text_width(n, size) for n, _ in rows), (width - 3 * gap - note) // 2)
    if all(share is None for _, share in rows):
        name = width - 2 * gap
    picture, pen = _sheet(width, len(rows) * row + size)
    for index, (label, share) in enumerate(rows):
        middle = size // 2 + index * row + row // 2
        pen.text((gap, middle), fit_text(label, size, name), INK, font_of(size), anchor="lm")
        if share is None:
            continue
        left, right, half = gap + name + gap // 2, width - gap - note - gap // 2, round(size * 0.5)
        pen.rectangle((left, middle - half, right, middle + half), fill=TRACK)
        end = left + round((right - left) * share)
        if end > left:
            pen.rectangle((left, middle - half, end, middle + half), fill=colour)
        pen.text((width - gap, middle), f"{100 * share:.1f} %", INK, font_of(size), anchor="rm")
    return picture


def panel_scale(
    colours: np.ndarray,
    ticks: Sequence[tuple[float, str]],
    mark: float,
    caption: Sequence[str],
    width: int,
    size: int,
) -> Image.Image:
    """Give a colour scale: `colours` (n, 3) from left to right, ticks (place in [0, 1], text) and caption below.

    A line crosses the scale at the place `mark`. A tick whose text would touch the one before it is left out.
    """
    gap, bar = size, round(size * 1.1)
    line = round(size * 1.5)
    lines = [part for text in caption for part in wrap_text(text, size, width - 2 * gap)]
    picture, pen = _sheet(width, size // 2 + bar + round(size * 1.9) + line * len(lines) + size // 2)
    left, right, top = gap, width - gap, size // 2
    strip = colours[np.linspace(0, len(colours) - 1, right - left).round().astype(int)]
    picture.paste(Image.fromarray(np.repeat(strip[None], bar, axis=0)), (left, top))
    middle = left + round(mark * (right - left - 1))
    pen.rectangle((middle - 2, top - 3, middle + 2, top + bar + 2), fill=PAPER)
    pen.rectangle((middle - 1, top - 3, middle + 1, top + bar + 2), fill=INK)
    free = 0
    for place, text in ticks:
        at = left + round(place * (right - left - 1))
        wide = text_width(text, size)
        start = min(max(at - wide // 2, 0), width - wide)
        if start < free:
            continue
        free = start + wide + size // 2
        pen.line((at, top + bar, at, top + bar + size // 3), fill=FAINT, width=max(1, size // 12))
        pen.text((start, top + bar + size // 3 + size // 6), text, INK, font_of(size), anchor="la")
    for index, text in enumerate(lines):
        middle = top + bar + round(size * 1.9) + line * index + line // 2
        pen.text((gap, middle), text, FAINT, font_of(size), anchor="lm")
    return picture


def wrap_text(text: str, size: int, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels; a word that is wider alone is shortened."""
    lines, current = [], ""
    for word in text.split():
        longer = f"{current} {word}".strip()
        if current and text_width(longer, size) > width:
            lines.append(current)
            longer = word
        current = longer
    return [fit_text(line, size, width) for line in (*lines, current) if line]


def place_label(
    picture: Image.Image,
    anchor: tuple[float, float, float, float],
    text: str,
    colour: Colour,
    size: int,
    taken: list[Any],
) -> bool:
    """Write a label at a box without covering another label: above it, inside it, below it or beside it.

    Args:
        picture: Drawn on in place.
        anchor: The box (x1, y1, x2, y2) in display pixels.
        taken: Rectangles of the labels so far; the new one is added.
    Returns:
        False when there was no free place, and nothing was written.
    """
    pad = max(2, size // 5)
    shown = fit_text(text, size, min(picture.width - 2 * pad, max(picture.width // 3, 10 * size)))
    wide, high = text_width(shown, size) + 2 * pad, size + 2 * pad
    if (shown != text and len(shown) < 8) or high > picture.height:  # "fe..." tells nobody anything
        return False
    x1, y1, x2, y2 = anchor
    left, right = (int(min(max(x, 0), picture.width - wide)) for x in (x1, x2 - wide))
    spots = [(left, y1 - high), (left, y1), (right, y1 - high), (left, y2), (right, y1), (right, y2)]
    spots += [(left, y2 - high), (right, y2 - high), (int(x2), y1), (int(x1) - wide, y1)]
    for x, y in spots:
        spot = (x, int(y), x + wide, int(y) + high)
        inside = spot[0] >= 0 and spot[1] >= 0 and spot[2] <= picture.width and spot[3] <= picture.height
        free = all(spot[2] <= o[0] or o[2] <= spot[0] or spot[3] <= o[1] or o[3] <= spot[1] for o in taken)
        if inside and free:
            pen = ImageDraw.Draw(picture)
            pen.rectangle((spot[0], spot[1], spot[2] - 1, spot[3] - 1), fill=colour)
            pen.text((x + pad, spot[1] + high // 2), shown, ink_on(colour), font_of(size), anchor="lm")
            taken.append(spot)
            return True
    return False


def stack(parts: Sequence[Image.Image]) -> Image.Image:
    """Put pictures below one another, flush left, on paper."""
    whole = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), PAPER)
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def beside(parts: Sequence[Image.Image], gap: int) -> Image.Image:
    """Put pictures next to one another, flush at the top, with `gap` pixels of paper between them."""
    width = sum(p.width for p in parts) + gap * (len(parts) - 1)
    whole = Image.new("RGB", (width, max(p.height for p in parts)), PAPER)
    left = 0
    for part in parts:
        whole.paste(part, (left, 0))
        left += part.width + gap
    return whole
