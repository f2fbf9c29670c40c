"""How each kind of value looks over its photograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from .canvas import (
    SHORTEST,
    Canvas,
    Colour,
    LegendEntry,
    blend,
    edges,
    nice_ticks,
    open_canvas,
    panel_bars,
    panel_legend,
    panel_scale,
    percent,
    place_label,
    short_number,
    stack,
    text_size,
)
from .palette import OKABE_ITO, class_palette, depth_colours
from .verdict_drawing import draw_verdict

if TYPE_CHECKING:
    from .boxes import Boxes
    from .depth import DepthMap
    from .masks import Masks
    from .segmentation import SemanticMap

__all__ = [
    "display_corners",
    "draw_bars",
    "draw_boxes",
    "draw_depth",
    "draw_frame",
    "draw_masks",
    "draw_semantic",
    "draw_verdict",
]

IGNORE = 255
OVERLAY = 0.6  # strength of class colours: the photograph stays recognisable below, hues stay apart
PHOTO_COLOUR = 0.35  # share of the photograph's own colour kept below an overlay, so that it does not shift the hues
MOST_BORDER = 0.25  # share of the picture; a map as noisy as that would drown in its borders, so it gets none
MOST_LABELLED = 0.15  # share of the picture that labels may cover before the less sure boxes go without
ALWAYS_LABELLED = 8  # boxes that get a label however small the picture, if there is a free place
BOLD = 20  # boxes with a thick frame, the surest; the others of a crowd have a thin one
SHADOW = 50  # black becomes this grey below an overlay, so that dark places do not swallow the class colours


def draw_semantic(image: Any, value: SemanticMap, long_side: int | None = None) -> Image.Image:
    """Draw the classes over a paled photograph, thin dark borders between them, and the legend; 255 shows the photo."""
    canvas = open_canvas(image, value.size, long_side)
    ids = canvas.enlarge(value.ids.cpu().numpy())
    palette = value.palette()
    labelled = ids != IGNORE
    picture = np.where(labelled[..., None], _pale(canvas.picture), canvas.picture)
    picture = blend(picture, palette[ids], labelled, OVERLAY)
    line = edges(ids, canvas.line)
    if line.mean() <= MOST_BORDER:
        picture = blend(picture, np.zeros_like(picture), line, 0.6)
    shares = value.shares()
    entries = [LegendEntry(_colour(palette[i]), name, percent(share)) for i, name, share in shares]
    left = 1 - sum(share for _, _, share in shares)
    if bool((value.ids == IGNORE).any()):
        entries.append(LegendEntry(None, "not labelled", percent(left)))
    return stack((Image.fromarray(picture), panel_legend(entries, canvas.width, canvas.text)))


def draw_depth(image: Any, value: DepthMap, long_side: int | None = None) -> Image.Image:
    """Draw depth in colours, near bright and far dark, with a scale and the median.

    Colours span the 1st to the 99th percentile of the known depth, on a log scale where they differ fourfold or more.
    """
    canvas = open_canvas(image, value.size, long_side)
    metres = value.metres.cpu().numpy()
    summary = value.summary()
    known = metres[metres > 0]
    under = np.full_like(canvas.picture, 64) if image is None else (canvas.picture * 0.35).astype(np.uint8)
    shown = canvas.enlarge(metres)
    if known.size < 0.5 * metres.size:
        shown = _grow(shown, canvas.line)
    if not known.size:
        legend = panel_legend([LegendEntry(None, "no depth known")], canvas.width, canvas.text)
        return stack((Image.fromarray(under), legend))
    low, high = (float(v) for v in np.percentile(known, (1, 99)))
    if high - low < 1e-3 * high:  # a flat wall: any span will do, and none is no span
        low, high = low * 0.95, high * 1.05
    log = high / low >= 4
    place = (lambda d: np.log(d / low) / np.log(high / low)) if log else (lambda d: (d - low) / (high - low))
    share = place(np.where(shown > 0, shown, low)).clip(0, 1)
    near_is_low = value.kind != "inverse"
    colours = depth_colours(1 - share if near_is_low else share)
    picture = np.where((shown > 0)[..., None], colours, under)
    steps = np.linspace(0, 1, 256)
    strip = depth_colours(1 - steps if near_is_low else steps)
    unit = " m" if value.kind == "metric_m" else ""
    ticks = [(float(place(np.float64(d))), f"{d:g}{unit}") for d in nice_ticks(low, high, log)]
    said = {k: short_number(v or 0.0) for k, v in summary.items() if k in ("median", "min", "max")}
    caption = f"median {said['median']}{unit}, from {said['min']} to {said['max']}{unit}"
    if value.kind != "metric_m":
        caption += f" ({value.units})"
    lines = [caption]
    if known.size < metres.size:
        lines.append(f"known for {percent(known.size / metres.size)} of the picture")
    mark = float(place(np.float64(summary["median"] or low)).clip(0, 1))
    return stack((Image.fromarray(picture), panel_scale(strip, ticks, mark, lines, canvas.width, canvas.text)))


def draw_boxes(image: Any, value: Boxes, long_side: int | None = None) -> Image.Image:
    """Draw boxes in their class colours, the surest on top; in a crowd the less sure have thin frames and no label."""
    canvas = open_canvas(image, value.size, long_side)
    picture = Image.fromarray(canvas.picture.copy())
    palette = class_palette(min(len(value.classes), 255))
    corners = display_corners(value, canvas)
    order = _surest_first(value.scores, len(value))
    for rank, index in reversed(list(enumerate(order))):
        width = canvas.line + 1 if rank < BOLD else 1
        draw_frame(picture, corners[index], _colour(palette[int(value.labels[index]) % 255]), width)
    bare = _write_labels(picture, value.labels, value.classes, value.scores, corners, order, canvas, palette)
    legend = panel_legend(_counts(value.labels, value.classes, palette, bare), canvas.width, canvas.text)
    return stack((picture, legend))


def draw_masks(image: Any, value: Masks, long_side: int | None = None) -> Image.Image:
    """Draw masks half transparent in their class colours with dark outlines, and label them like boxes."""
    canvas = open_canvas(image, value.size, long_side)
    palette = class_palette(min(len(value.classes), 255))
    shown = canvas.picture
    order = _surest_first(value.scores, len(value))
    for index in reversed(order):
        mask = canvas.enlarge(value.masks[index].cpu().numpy())
        colour = palette[int(value.labels[index]) % 255]
        shown = blend(shown, np.broadcast_to(colour, shown.shape), mask, OVERLAY)
        shown = blend(shown, np.zeros_like(shown), edges(mask, canvas.line), 0.7)
    picture = Image.fromarray(np.ascontiguousarray(shown))
    down, across = canvas.factor
    corners = value.to_boxes().xyxy.cpu().numpy() * np.array([across, down, across, down])
    seen = [i for i in order if bool(value.masks[i].any())]
    bare = _write_labels(picture, value.labels, value.classes, value.scores, corners, seen, canvas, palette)
    legend = panel_legend(_counts(value.labels, value.classes, palette, bare), canvas.width, canvas.text)
    return stack((picture, legend))


def draw_bars(image: Any, rows: Sequence[tuple[str, float | None]], long_side: int | None = None) -> Image.Image:
    """Draw named probabilities as bars below the photograph; without a photograph, the bars alone."""
    if image is None:
        width = max(long_side or SHORTEST, 22 * text_size(0))
        return panel_bars(rows, width, text_size(width), OKABE_ITO[6])
    canvas = open_canvas(image, None, long_side)
    return stack((Image.fromarray(canvas.picture), panel_bars(rows, canvas.width, canvas.text, OKABE_ITO[6])))


def display_corners(value: Boxes, canvas: Canvas) -> np.ndarray:
    """Give the boxes (Q, 4) xyxy in display pixels, cut a little outside the picture."""
    down, across = canvas.factor
    corners = value.xyxy.cpu().numpy() * np.array([across, down, across, down])
    beyond = 4 * canvas.text  # a frame so far outside is not seen; Pillow cannot draw one at 1e9
    high, wide = canvas.picture.shape[:2]
    cut: np.ndarray = corners.clip(-beyond, [wide + beyond, high + beyond] * 2)
    return cut


def draw_frame(picture: Image.Image, corners: np.ndarray, colour: Colour, width: int) -> None:
    """Draw a box on the picture, in place; its dark rim keeps light colours visible on sky."""
    pen = ImageDraw.Draw(picture)
    x1, y1, x2, y2 = (float(v) for v in corners)
    frame = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))
    pen.rectangle(frame, outline=(0, 0, 0), width=width + 1)
    pen.rectangle(frame, outline=colour, width=width)


def _pale(picture: np.ndarray) -> np.ndarray:
    grey = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    paled = grey[..., None] * (1 - PHOTO_COLOUR) + picture * PHOTO_COLOUR
    return (SHADOW + paled * (1 - SHADOW / 255)).round().astype(np.uint8)


def _colour(row: np.ndarray) -> Colour:
    return int(row[0]), int(row[1]), int(row[2])


def _grow(metres: np.ndarray, steps: int) -> np.ndarray:
    """Spread each known depth over its unknown neighbours, the nearer one first, so that single points can be seen."""
    far = np.where(metres > 0, metres, np.inf)
    for _ in range(steps):
        around = np.pad(far, 1, constant_values=np.inf)
        height, width = far.shape
        moved = [around[1 + i : 1 + i + height, 1 + j : 1 + j + width] for i in (-1, 0, 1) for j in (-1, 0, 1)]
        far = np.where(np.isfinite(far), far, np.min(moved, axis=0))
    return np.where(np.isfinite(far), far, 0)


def _surest_first(scores: Any, count: int) -> list[int]:
    return list(range(count)) if scores is None else scores.argsort(descending=True).tolist()


def _counts(labels: Any, classes: tuple[str, ...], palette: np.ndarray, bare: int) -> list[LegendEntry]:
    ids, counts = np.unique(labels.cpu().numpy(), return_counts=True)
    rows = sorted(zip(ids.tolist(), counts.tolist(), strict=True), key=lambda row: (-row[1], row[0]))
    entries = [LegendEntry(_colour(palette[i % 255]), classes[i], str(n)) for i, n in rows]
    return entries + [LegendEntry(None, "too crowded to label", str(bare))] * (bare > 0)


def _write_labels(
    picture: Image.Image,
    labels: Any,
    classes: tuple[str, ...],
    scores: Any,
    corners: np.ndarray,
    order: Sequence[int],
    canvas: Canvas,
    palette: np.ndarray,
) -> int:
    """Label boxes, the surest first, until labels cover enough of the picture; give how many inside it have none."""
    high, wide = canvas.picture.shape[:2]
    taken: list[Any] = []
    bare = 0
    for index in order:
        x1, y1, x2, y2 = (float(v) for v in corners[index])
        covered = sum((right - left) * (bottom - top) for left, top, right, bottom in taken)
        room = len(taken) < ALWAYS_LABELLED or covered < MOST_LABELLED * high * wide
        label = int(labels[index])
        text = classes[label] if scores is None else f"{classes[label]} {float(scores[index]):.2f}"
        seen = x2 > 0 and y2 > 0 and x1 < wide and y1 < high
        if not seen:
            continue
        colour = _colour(palette[label % 255])
        bare += not (room and place_label(picture, (x1, y1, x2, y2), text, colour, canvas.text, taken))
    return bare
