"""How a threshold was set: which share of familiar pictures scores below each value, and where the line lies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import DataError
from .canvas import FAINT, INK, PAPER, TRACK, Colour, font_of, nice_ticks, percent, text_size, text_width, wrap_text
from .palette import OKABE_ITO

__all__ = ["draw_calibration"]

COLOURS: tuple[Colour, ...] = (OKABE_ITO[0], OKABE_ITO[1], OKABE_ITO[5], OKABE_ITO[3], OKABE_ITO[6])


def draw_calibration(
    familiar: Tensor,
    threshold: float,
    outside: Mapping[str, Tensor] | None = None,
    *,
    score_name: str = "",
    width: int = 800,
) -> Image.Image:
    """Draw, against the score, the share of pictures that score at most as high: one rising curve for each kind.

    Args:
        familiar: Scores (N,) of validation pictures that the threshold was set on, or evenly spaced quantiles of them.
        threshold: Scores above it count as unusual; a dashed line.
        outside: Name to scores (M,) of pictures that are unusual, at most four kinds.
        score_name: Name of the score, for the axis.
        width: Of the picture in pixels; it is half as high, and a legend.
    Raises:
        DataError: A kind without scores, scores that are not finite, or more than four kinds outside.
    """
    kinds = {"familiar pictures (validation)": familiar, **(outside or {})}
    if len(kinds) > len(COLOURS):
        raise DataError(f"a calibration picture got {len(kinds) - 1} kinds outside; it can tell four apart.")
    for name, scores in kinds.items():
        if scores.ndim != 1 or len(scores) < 2 or not bool(scores.isfinite().all()):
            raise DataError(f"scores of '{name}' have shape {tuple(scores.shape)}; give at least two, all finite.")
    size = text_size(width)
    rows = {name: np.sort(scores.detach().cpu().double().numpy()) for name, scores in kinds.items()}
    ends = [np.percentile(row, (0.5, 99.5)) for row in rows.values()]
    low, high = min(float(e[0]) for e in ends), max(float(e[1]) for e in ends)
    low, high = min(low, threshold), max(high, threshold)
    margin = 0.05 * (high - low) or 1.0
    low, high = low - margin, high + margin
    kept = float((rows["familiar pictures (validation)"] <= threshold).mean())
    below = {name: float((row > threshold).mean()) for name, row in rows.items()}
    legend = [f"{name}: {percent(below[name])} above the threshold" for name in rows]
    left, right, top, bottom = size * 4, width - size, size * 2, width // 2
    line = round(size * 1.6)
    picture = Image.new("RGB", (width, bottom + line * (len(legend) + 2) + size), PAPER)
    pen = ImageDraw.Draw(picture)
    across = lambda score: left + (score - low) / (high - low) * (right - left)  # noqa: E731
    down = lambda share: bottom - share * (bottom - top)  # noqa: E731
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        pen.line((left, down(share), right, down(share)), fill=TRACK)
        pen.text((left - size // 2, down(share)), percent(share), FAINT, font_of(size), anchor="rm")
    for tick in nice_ticks(low, high, False):
        pen.line((across(tick), bottom, across(tick), bottom + size // 3), fill=FAINT)
        pen.text((across(tick), bottom + size // 2), f"{tick:g}", FAINT, font_of(size), anchor="mt")
    for row, colour in zip(rows.values(), COLOURS, strict=False):
        shares = np.arange(1, len(row) + 1) / len(row)
        inside = (row >= low) & (row <= high)
        points = [(low, float((row < low).mean())), *zip(row[inside], shares[inside], strict=True)]
        points.append((high, float((row <= high).mean())))
        pen.line([(across(x), down(y)) for x, y in points], fill=colour, width=max(2, size // 5), joint="curve")
    at = across(threshold)
    for y in range(top - size // 2, bottom, max(4, size // 2)):
        pen.line((at, y, at, y + size // 4), fill=INK, width=max(2, size // 7))
    words = f"threshold {threshold:.3g}, keeps {percent(kept)}"
    start = min(max(at - text_width(words, size) / 2, left), right - text_width(words, size))
    pen.text((start, size // 3), words, INK, font_of(size), anchor="lt")
    axis = f"score{f' ({score_name})' if score_name else ''}; up: share of the pictures that score at most as high"
    rest = bottom + round(size * 2)
    pen.text((left, rest), wrap_text(axis, size, right - left)[0], FAINT, font_of(size), anchor="lt")
    for index, (text, colour) in enumerate(zip(legend, COLOURS, strict=False), start=1):
        y = rest + index * line
        pen.line((left, y + size // 2, left + 2 * size, y + size // 2), fill=colour, width=max(3, size // 4))
        pen.text((left + 3 * size, y), text, INK, font_of(size), anchor="lt")
    return picture
