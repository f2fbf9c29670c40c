"""How a verdict about an unusual picture looks: a plain sentence, a gauge, and heat where it is unusual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from .canvas import (
    FAINT,
    INK,
    PAPER,
    SHORTEST,
    Colour,
    fit_text,
    font_of,
    nice_ticks,
    open_canvas,
    panel_scale,
    percent,
    short_number,
    stack,
    text_size,
    text_width,
    wrap_text,
)
from .palette import OKABE_ITO

if TYPE_CHECKING:
    from .ood import OODVerdict

__all__ = ["draw_verdict"]

FAMILIAR, UNUSUAL = OKABE_ITO[0], OKABE_ITO[4]  # sky blue and orange differ in lightness too, for every kind of eye
HEAT: Colour = OKABE_ITO[1]
STRONGEST = 0.85  # heat leaves that much less than the whole of the photograph unseen


def draw_verdict(image: Any, value: OODVerdict, long_side: int | None = None) -> Image.Image:
    """Draw the verdict as a sentence and a gauge below the photograph, and its map, if any, as heat over it.

    The threshold stands in the middle of the gauge, whose ends lie as far as the score needs. The heat spans the map's
    own 2nd to 99th percentile, so even a familiar picture has a warmest place: read the scale below it.

    Args:
        image: As in `Value.draw`; None gives the panel alone, `long_side` wide, or a map on plain grey.
        value: Needs `score`, `threshold`, `keeps`, `score_name`, `map` and `is_ood` only; the percentile and the
            nearest classes of a verdict are written below the gauge.
        long_side: As in `Value.draw`.
    """
    if image is None and value.map is None:
        width = max(long_side or SHORTEST, 22 * text_size(0))
        return _panel(value, width, text_size(width))
    heat = None if value.map is None else value.map.detach().cpu().double().numpy()
    canvas = open_canvas(image, heat.shape if image is None and heat is not None else None, long_side)
    if heat is None:
        return stack((Image.fromarray(canvas.picture), _panel(value, canvas.width, canvas.text)))
    low, high = (float(v) for v in np.percentile(heat, (2, 99)))
    if high - low < 1e-6 * max(1.0, abs(high)):  # nowhere more unusual than elsewhere: no heat at all
        low, high = high, high + 1.0
    across, down = canvas.picture.shape[1], canvas.picture.shape[0]
    smooth = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((across, down), Image.Resampling.BILINEAR))
    share = ((smooth - low) / (high - low)).clip(0, 1)[..., None] * STRONGEST
    grey = canvas.picture @ np.array([0.299, 0.587, 0.114])
    picture = (grey[..., None] * (1 - share) + np.array(HEAT) * share).round().astype(np.uint8)
    steps = np.linspace(0, STRONGEST, 256)[:, None]
    strip = (128 * (1 - steps) + np.array(HEAT) * steps).round().astype(np.uint8)
    place = lambda score: (score - low) / (high - low)  # noqa: E731
    ticks = [(place(score), f"{score:g}") for score in nice_ticks(low, high, False)]
    mark = float(np.clip(place(float(np.median(heat))), 0, 1))
    caption = ["more unusual to the right; the colours span this picture, the line is its median"]
    scale = panel_scale(strip, ticks, mark, caption, canvas.width, canvas.text)
    return stack((Image.fromarray(picture), scale, _panel(value, canvas.width, canvas.text)))


def _panel(value: OODVerdict, width: int, size: int) -> Image.Image:
    named = f"score {short_number(value.score)}" + (f" ({value.score_name})" if value.score_name else "")
    if value.threshold is None or value.is_ood is None:
        return _sentence(f"{named}, no threshold set", width, size)
    parts = [_headline(bool(value.is_ood), named, width, size), _gauge(value, value.threshold, width, size)]
    if reasons := _reasons(value):
        parts.append(_sentence(reasons, width, size))
    return stack(parts)


def _reasons(value: OODVerdict) -> str:
    """What the verdict says beside its score, in plain words; "" where that is nothing."""
    words = []
    if lower := getattr(value, "outranked", ""):
        words.append(f"It scores higher than {lower}.")
    if getattr(value, "nearest", ()):
        words.append(f"Nearest classes: {', '.join(name for name, _ in value.nearest)}.")
    return " ".join(words)


def _headline(unusual: bool, note: str, width: int, size: int) -> Image.Image:
    """Give the sentence with a sign of its own shape: a disc for familiar, a triangle for unusual."""
    large = round(size * 1.4)
    picture = Image.new("RGB", (width, round(size * 2.6)), PAPER)
    pen = ImageDraw.Draw(picture)
    middle, half = picture.height // 2 + 1, round(size * 0.6)
    if unusual:
        corners = ((size, middle + half), (size + 2 * half, middle + half), (size + half, middle - half))
        pen.polygon(corners, fill=UNUSUAL, outline=INK)
    else:
        pen.ellipse((size, middle - half, size + 2 * half, middle + half), fill=FAMILIAR, outline=INK)
    at = size + 2 * half + size // 2
    words = "Looks unusual" if unusual else "Looks familiar"
    pen.text((at, middle), words, INK, font_of(large), anchor="lm")
    room = width - at - text_width(words, large) - 2 * size
    note = note if text_width(note, size) <= room else note.split(" (")[0]  # the score counts more than its name
    pen.text((width - size, middle), fit_text(note, size, max(0, room)), FAINT, font_of(size), anchor="rm")
    return picture


def _gauge(value: OODVerdict, threshold: float, width: int, size: int) -> Image.Image:
    """Give the bar with the threshold in its middle, the score's place above, and what the threshold means below."""
    kept = "" if value.keeps is None else f": {percent(value.keeps)} of familiar pictures lie left of this line"
    lines = wrap_text(f"threshold {short_number(threshold)}{kept}", size, width - 2 * size)
    label, bar, row = round(size * 2.1), round(size * 1.5), round(size * 1.5)
    picture = Image.new("RGB", (width, label + bar + size // 2 + row * len(lines) + size // 2), PAPER)
    pen = ImageDraw.Draw(picture)
    left, right, centre, bottom = size, width - size, width // 2, label + bar
    pen.rectangle((left, label, centre, bottom), fill=FAMILIAR)
    pen.rectangle((centre, label, right, bottom), fill=UNUSUAL)
    at = round(centre + gauge_place(value.score, threshold) * (right - left) / 2)
    half = round(size * 0.45)
    for text, end, inner in (("familiar", left, 1), ("unusual", right, -1)):  # beside the score's line, not below it
        far = abs(at - end) > text_width(text, size) + size
        edge, side = (end, inner) if far else (centre, -inner)
        pen.text(
            (edge + side * size // 2, label + bar / 2), text, INK, font_of(size), anchor="lm" if side > 0 else "rm"
        )
    pen.polygon(((at - half, label - 2 * half), (at + half, label - 2 * half), (at, label + 1)), fill=INK)
    pen.line((at, label, at, bottom), fill=INK, width=max(2, size // 7))
    words = "this picture"
    start = min(max(at - text_width(words, size) // 2, left), right - text_width(words, size))
    pen.text((start, (label - 2 * half) // 2), words, INK, font_of(size), anchor="lm")
    for top in range(label - size // 3, bottom + size // 2, max(4, size // 2)):  # dashed: it is not the score's line
        pen.line((centre, top, centre, min(top + size // 4, bottom + size // 2)), fill=INK, width=max(2, size // 7))
    for index, text in enumerate(lines):
        pen.text((centre, bottom + size // 2 + index * row + row // 2), text, FAINT, font_of(size), anchor="mm")
    return picture


def gauge_place(score: float, threshold: float) -> float:
    """Give where a score stands between -1 (left end) and 1 (right end), the threshold at 0.

    The ends lie half the threshold's size away, or so far that the score stands at three quarters of the way.
    """
    distance = score - threshold
    span = max(abs(threshold) / 2, abs(distance) / 0.75)
    return distance / span if span > 0 else 0.0


def _sentence(text: str, width: int, size: int) -> Image.Image:
    lines = wrap_text(text, size, width - 2 * size)
    row = round(size * 1.7)
    picture = Image.new("RGB", (width, row * len(lines) + size), PAPER)
    pen = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        pen.text((size, size // 2 + index * row + row // 2), line, INK, font_of(size), anchor="lm")
    return picture
