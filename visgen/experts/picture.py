"""Pictures of experts: a heat map of who visits whom, and curves of what is left when experts go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ..errors import DataError
from ..structures.canvas import (
    FAINT,
    INK,
    PAPER,
    TRACK,
    LegendEntry,
    fit_text,
    font_of,
    nice_ticks,
    panel_legend,
    panel_scale,
    stack,
    text_width,
)
from ..structures.palette import OKABE_ITO, depth_colours, ink_on
from ..structures.sheet import Panel, overview_sheet
from .stats import ExpertStats, LayerStats

__all__ = ["draw_curves", "draw_heat_map"]

TEXT = 16
CELL = (52, 34)  # width and height of one cell of the heat map
FLAT = 0.05  # values that differ by a smaller share of the largest are given more room than they take
LINES = tuple(OKABE_ITO[i] for i in (6, 1, 5, 3, 4, 0))  # the hues that carry a line on paper


def draw_heat_map(stats: ExpertStats, title: str = "") -> Image.Image:
    """Draw for every routed layer which share of a task's tokens visits each expert.

    Rows are tasks, columns experts; a cell holds the percentage, and nothing where no token ever went. Experts that
    nobody visits are crossed out.

    Args:
        stats: From `collect_expert_stats`.
        title: The first line; the model's name when empty.
    """
    panels = []
    for layer, summary in zip(stats.layers, stats.summary(), strict=True):
        told = f", I / log T {summary['I/logT']:.3f}" if len(stats.tasks) > 1 else ""
        heading = f"{layer.name} ({layer.top_k} of {layer.num_experts}){told}"
        panels.append(Panel(heading, _panel(layer, stats.tasks)))
    widest = max(panel.picture.width for panel in panels)
    ticks = [(share, f"{100 * share:.0f} %") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    colours = depth_colours(np.linspace(0, 1, 256))
    caption = ["share of a task's tokens that visit the expert; a row sums to 100 % times the experts a token visits"]
    panels.append(Panel("", panel_scale(colours, ticks, 0.0, caption, widest, TEXT), below=True))
    note = f"{len(stats.tasks)} tasks, {sum(stats.rows):,} tokens"
    return overview_sheet(title or f"Experts of {stats.model or 'the model'}", note, panels)


def _panel(layer: LayerStats, tasks: Sequence[str]) -> Image.Image:
    """One layer as a table of coloured cells."""
    names = max(text_width(task, TEXT) for task in tasks) + TEXT
    dead = set(layer.dead())
    width, height = names + CELL[0] * layer.num_experts, CELL[1] * (len(tasks) + 1)
    picture = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    for e in range(layer.num_experts):
        left = names + e * CELL[0]
        pen.text((left + CELL[0] // 2, CELL[1] // 2), str(e), FAINT, font_of(TEXT), anchor="mm")
    for t, task in enumerate(tasks):
        top = CELL[1] * (t + 1)
        pen.text((names - TEXT // 2, top + CELL[1] // 2), task, INK, font_of(TEXT), anchor="rm")
        for e, share in enumerate(layer.load[t].tolist()):
            left = names + e * CELL[0]
            box = (left, top, left + CELL[0] - 2, top + CELL[1] - 2)
            colour = tuple(int(c) for c in depth_colours(np.array(min(share, 1.0))))
            pen.rectangle(box, fill=TRACK if e in dead else colour)
            if e in dead:
                pen.line(box, fill=FAINT)
                continue
            text = f"{100 * share:.0f}" if share >= 0.005 else ("" if share == 0 else "<1")
            ink = ink_on(colour)  # type: ignore[arg-type]
            pen.text((left + CELL[0] // 2 - 1, top + CELL[1] // 2 - 1), text, ink, font_of(TEXT), anchor="mm")
    return picture


def draw_curves(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    across: str,
    up: str,
    bands: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    size: tuple[int, int] = (760, 460),
) -> Image.Image:
    """Draw lines through points, with a legend below.

    Args:
        lines: Name -> (x, y) points, drawn in the order given.
        title: The first line.
        across, up: What the axes show.
        bands: Name of a line -> (x, lowest y, highest y), drawn as a bar at each point: the spread over seeds.
        size: Width and height of the plot in pixels.
    Raises:
        DataError: No line, more lines than colours, or a value that is not finite.
    """
    spread = [(x, y) for rows in (bands or {}).values() for x, low, high in rows for y in (low, high)]
    points = [point for line in lines.values() for point in line] + spread
    if not points or len(lines) > len(LINES) or not all(map(math.isfinite, (v for point in points for v in point))):
        raise DataError(f"{len(lines)} lines with {len(points)} points; give 1..{len(LINES)} lines of finite points.")
    width, height = size
    left, right, top, bottom = 5 * TEXT, width - TEXT, 3 * TEXT, height - 4 * TEXT
    (x0, x1), (y0, y1) = _span([x for x, _ in points]), _span([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - x0) / (x1 - x0) * (right - left), bottom - (y - y0) / (y1 - y0) * (bottom - top)

    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    font = font_of(TEXT)
    pen.text((left, TEXT), fit_text(title, TEXT + 2, right - left), INK, font_of(TEXT + 2), anchor="lm")
    for tick in nice_ticks(y0, y1, False):
        y = place(x0, tick)[1]
        pen.line((left, y, right, y), fill=TRACK)
        pen.text((left - TEXT // 2, y), f"{tick:g}", FAINT, font, anchor="rm")
    for tick in nice_ticks(x0, x1, False):
        x = place(tick, y0)[0]
        pen.line((x, bottom, x, bottom + TEXT // 3), fill=FAINT)
        pen.text((x, bottom + TEXT), f"{tick:g}", FAINT, font, anchor="mm")
    pen.line((left, bottom, right, bottom), fill=FAINT)
    pen.text(((left + right) // 2, height - TEXT), across, INK, font, anchor="mm")
    pen.text((left, 2 * TEXT + TEXT // 3), up, FAINT, font, anchor="lm")
    for colour, (name, line) in zip(LINES, lines.items(), strict=False):
        for x, low, high in (bands or {}).get(name, ()):
            pen.line((*place(x, low), *place(x, high)), fill=colour, width=2)
        dots = [place(*point) for point in line]
        pen.line(dots, fill=colour, width=3, joint="curve")
        for x, y in dots:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=PAPER)
    entries = [LegendEntry(colour, name) for colour, name in zip(LINES, lines, strict=False)]
    return stack([picture, panel_legend(entries, width, TEXT)])


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value with a little room around them; values that hardly differ shall look so."""
    low, high = min(values), max(values)
    room = max(0.05 * (high - low), FLAT * max(abs(low), abs(high)) - (high - low)) or 1.0
    return low - room, high + room
