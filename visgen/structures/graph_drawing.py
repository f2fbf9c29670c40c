"""How a scene graph looks: its boxes on the photograph, the graph as a diagram beside it, and its triplets in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from .canvas import (
    FAINT,
    INK,
    PAPER,
    TRACK,
    Canvas,
    Colour,
    beside,
    fit_text,
    font_of,
    open_canvas,
    place_label,
    stack,
    text_width,
    wrap_text,
)
from .drawing import display_corners, draw_boxes, draw_frame
from .graph_layout import GraphLayout, lay_out_graph
from .palette import class_palette, ink_on

if TYPE_CHECKING:
    from .boxes import Boxes
    from .scene_graph import SceneGraph

__all__ = ["draw_scene_graph", "node_names", "relations_to_draw"]

MOST_RELATIONS = 12  # more arrows than that are a knot
WIDE = 1.8  # wider photographs (a panorama; 16:9 is not) have the diagram below, the others beside
SHARPER = 2  # lines are drawn at this scale and reduced, so that slanted ones are smooth


@dataclass(frozen=True)
class _Picture:
    """What is drawn of a graph: the boxes that take part, each with name and colour, and the triplets between them."""

    boxes: list[int]
    names: dict[int, str]
    colours: dict[int, Colour]
    triplets: list[tuple[int, int, str]]
    scores: list[float] | None


def draw_scene_graph(image: Any, value: SceneGraph, long_side: int | None = None) -> Image.Image:
    """Draw the boxes over the photograph, the graph beside it (below a wide one), and below the triplets in words.

    At most twelve relations are drawn, the surest, and one between the same two boxes; the others are counted. Boxes
    that take no part in them have a thin grey frame. Without relations the boxes are drawn as `draw_boxes` does.
    """
    canvas = open_canvas(image, value.size, long_side)
    picked, left = relations_to_draw(value)
    if not picked:
        return stack((draw_boxes(image, value.boxes, long_side), _line("no relations found", canvas, canvas.width)))
    drawn = _prepare(value, picked, canvas)
    photo = _photograph(canvas, value.boxes, drawn)
    notes = []
    if left:
        notes.append(f"+ {left} more relation{'s' * (left > 1)}")
    alone = len(value.boxes) - len(drawn.boxes)
    if alone:
        notes.append(f"{alone} box{'es' * (alone > 1)} without a relation shown here (grey)")
    wide = photo.width > WIDE * photo.height
    height = min(photo.height, round((4 + 2.5 * len(drawn.boxes)) * canvas.text)) if wide else photo.height
    diagram = _diagram(value.boxes, drawn, canvas, canvas.width, height)
    upper = stack((photo, diagram)) if wide else beside((photo, diagram), round(1.8 * canvas.text))
    parts = [upper, _words(drawn, upper.width, canvas.text)]
    return stack(parts + ([_line(", ".join(notes), canvas, upper.width)] if notes else []))


def relations_to_draw(value: SceneGraph, most: int = MOST_RELATIONS) -> tuple[list[int], int]:
    """Choose the triplets that a diagram shows.

    "A on B" and "B under A" say the same, so two boxes share one arrow: the surest triplet, or without scores the first
    one listed, in either direction.

    Returns:
        The indices of the chosen triplets, the surest first, and how many further pairs of boxes are related.
    """
    triplets = value.triplets.cpu()
    if len(triplets) == 0:
        return [], 0
    order = torch.arange(len(triplets))
    if value.scores is not None:
        subject, target, predicate = triplets.unbind(dim=1)  # ties in a fixed order, as in SceneGraph.ranked
        code = (subject * len(value.boxes) + target) * len(value.predicates) + predicate
        order = code.argsort(stable=True)
        order = order[value.scores.cpu()[order].argsort(descending=True, stable=True)]
    ends = triplets[order, :2].sort(dim=1).values
    pair = (ends[:, 0] * len(value.boxes) + ends[:, 1]).numpy()
    _, first = np.unique(pair, return_index=True)
    chosen = order[torch.from_numpy(np.sort(first))].tolist()
    return chosen[:most], max(0, len(chosen) - most)


def node_names(boxes: Boxes, which: Sequence[int]) -> dict[int, str]:
    """Name the boxes `which`: by class, and numbered from left to right where several of a class are among them."""
    labels, corners = boxes.names, boxes.xyxy.tolist()
    by_place = sorted(which, key=lambda i: (corners[i][0] + corners[i][2], corners[i][1] + corners[i][3], i))
    same: dict[str, list[int]] = {}
    for index in by_place:
        same.setdefault(labels[index], []).append(index)
    return {
        index: f"{name} {number}" if len(group) > 1 else name
        for name, group in same.items()
        for number, index in enumerate(group, start=1)
    }


def _prepare(value: SceneGraph, picked: list[int], canvas: Canvas) -> _Picture:
    rows = value.triplets[picked].tolist()
    boxes = sorted({end for subject, target, _ in rows for end in (subject, target)})
    palette = class_palette(min(len(value.boxes.classes), 255))
    labels = value.boxes.labels.tolist()
    colours = {i: (int(c[0]), int(c[1]), int(c[2])) for i in boxes for c in [palette[labels[i] % 255]]}
    triplets = [(subject, target, value.predicates[predicate]) for subject, target, predicate in rows]
    scores = None if value.scores is None else value.scores[picked].tolist()
    names = {i: _short(name, canvas.text, 10 * canvas.text) for i, name in node_names(value.boxes, boxes).items()}
    return _Picture(boxes, names, colours, triplets, scores)


def _photograph(canvas: Canvas, boxes: Boxes, drawn: _Picture) -> Image.Image:
    picture, photo_width = Image.fromarray(canvas.picture.copy()), canvas.picture.shape[1]
    corners = display_corners(boxes, canvas)
    for index in sorted(set(range(len(boxes))) - set(drawn.boxes)):
        draw_frame(picture, corners[index], (190, 190, 190), 1)
    by_size = sorted(drawn.boxes, key=lambda i: -float(boxes.area[i]))  # small boxes on top of large ones
    for index in by_size:
        draw_frame(picture, corners[index], drawn.colours[index], canvas.line + 1)
    taken: list[Any] = []
    for index in reversed(by_size):  # and they choose their label's place first
        anchor, colour = tuple(corners[index]), drawn.colours[index]
        name = _short(drawn.names[index], canvas.text, photo_width - canvas.text)  # on a strip, the number alone
        if name and not place_label(picture, anchor, name, colour, canvas.text, taken):
            _label_from_afar(picture, anchor, name, colour, canvas, taken)
    return picture


def _label_from_afar(
    picture: Image.Image, anchor: Any, text: str, colour: Colour, canvas: Canvas, taken: list[Any]
) -> None:
    """Write a label at the nearest free place, with a line to its box, so that no node of the diagram is a riddle."""
    step = 1.5 * canvas.text
    ways = sorted(((x * step, y * step) for x in range(-8, 9) for y in range(-8, 9)), key=lambda w: (np.hypot(*w), w))
    wide, high = picture.size
    x, y = min(max((anchor[0] + anchor[2]) / 2, 0), wide), min(max((anchor[1] + anchor[3]) / 2, 0), high)
    for right, down in ways:
        spot = (x + right, y + down, x + right, y + down)
        if place_label(picture, spot, text, colour, canvas.text, taken):
            x1, y1, x2, y2 = taken[-1]
            end = (min(max(x, x1), x2 - 1), min(max(y, y1), y2 - 1))
            ImageDraw.Draw(picture).line((x, y, *end), fill=colour, width=canvas.line)
            return


def _diagram(boxes: Boxes, drawn: _Picture, canvas: Canvas, width: int, height: int) -> Image.Image:
    size = canvas.text
    pad, small = round(size * 0.55), max(11, round(size * 0.9))
    names = [drawn.names[i] for i in drawn.boxes]
    labels = [fit_text(predicate, small, 10 * size) for _, _, predicate in drawn.triplets]
    node_sizes = np.array([(text_width(name, size) + 2 * pad, size + 2 * pad) for name in names])
    label_sizes = np.array([(text_width(label, small) + size // 2, small + size // 3) for label in labels])
    place = {index: node for node, index in enumerate(drawn.boxes)}
    edges = np.array([(place[subject], place[target]) for subject, target, _ in drawn.triplets])
    needed = 5 * (node_sizes.prod(axis=1).sum() + label_sizes.prod(axis=1).sum()) / width
    centres = (boxes.xyxy[drawn.boxes, :2] + boxes.xyxy[drawn.boxes, 2:]).cpu().numpy() / 2
    anchors = centres / np.array([boxes.size[1], boxes.size[0]])
    layout = lay_out_graph(
        anchors, node_sizes, edges, label_sizes, (max(height, round(needed), 9 * size), width), 0.8 * size
    )
    picture = _lines_and_nodes(layout, [drawn.colours[i] for i in drawn.boxes], canvas)
    pen = ImageDraw.Draw(picture)
    for (x1, y1, x2, y2), label in zip(layout.labels.tolist(), labels, strict=True):
        pen.rounded_rectangle((x1, y1, x2, y2), size // 4, fill=PAPER)
        pen.text(((x1 + x2) / 2, (y1 + y2) / 2), label, INK, font_of(small), anchor="mm")
    for (x1, y1, x2, y2), name, index in zip(layout.nodes.tolist(), names, drawn.boxes, strict=True):
        ink = ink_on(drawn.colours[index])
        pen.text(((x1 + x2) / 2, (y1 + y2) / 2), name, ink, font_of(size), anchor="mm")
    return picture


def _short(name: str, size: int, room: int) -> str:
    """Shorten a name to `room` pixels, never its number."""
    start, _, number = name.rpartition(" ")
    if text_width(name, size) <= room or not number.isdigit():
        return fit_text(name, size, room)
    return f"{fit_text(start, size, room - text_width(' ' + number, size))} {number}".strip()


def _lines_and_nodes(layout: GraphLayout, colours: list[Colour], canvas: Canvas) -> Image.Image:
    height, width = layout.size
    picture = Image.new("RGB", (SHARPER * width, SHARPER * height), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, SHARPER * width - 1, SHARPER * height - 1), outline=TRACK, width=SHARPER)
    line, head = SHARPER * max(2, canvas.line), SHARPER * 0.7 * canvas.text
    for x1, y1, x2, y2 in (layout.arrows * SHARPER).tolist():
        length = max(1e-6, float(np.hypot(x2 - x1, y2 - y1)))
        along = ((x2 - x1) / length * head, (y2 - y1) / length * head)
        base = (x2 - along[0], y2 - along[1])
        pen.line((x1, y1, x2 - along[0] / 2, y2 - along[1] / 2), fill=FAINT, width=line)
        sides = [(base[0] - s * along[1] * 0.4, base[1] + s * along[0] * 0.4) for s in (1, -1)]
        pen.polygon(((x2, y2), *sides), fill=INK)
    for (x1, y1, x2, y2), colour in zip((layout.nodes * SHARPER).tolist(), colours, strict=True):
        pen.rounded_rectangle((x1, y1, x2, y2), SHARPER * canvas.text // 2, colour, INK, SHARPER)
    return picture.resize((width, height), Image.Resampling.BOX)


def _words(drawn: _Picture, width: int, size: int) -> Image.Image:
    """Give the triplets in columns: the score, and "subject predicate object" with the colours of their boxes."""
    gap, swatch, joint, row = size, round(size * 0.9), round(size * 0.4), round(size * 1.7)
    ahead = 0 if drawn.scores is None else text_width("0.00", size) + gap // 2
    texts = [(f"{drawn.names[s]} {predicate}", drawn.names[o]) for s, o, predicate in drawn.triplets]
    fixed = ahead + 2 * swatch + 3 * joint
    widest = max(text_width(first, size) + text_width(last, size) for first, last in texts)
    columns = max(1, min(len(texts), (width - gap) // (fixed + widest + 2 * gap)))
    column = min(fixed + widest + 2 * gap, (width - gap) // columns)
    rows = -(-len(texts) // columns)
    picture = Image.new("RGB", (width, rows * row + size), PAPER)
    pen = ImageDraw.Draw(picture)
    for index, ((subject, target, _), (first, last)) in enumerate(zip(drawn.triplets, texts, strict=True)):
        at, middle = gap + (index // rows) * column, size // 2 + (index % rows) * row + row // 2
        if drawn.scores is not None:
            pen.text((at, middle), f"{drawn.scores[index]:.2f}", FAINT, font_of(size), anchor="lm")
        at, left = at + ahead, column - gap - fixed  # the first name may take all room but a third
        first = fit_text(first, size, max(left - text_width(last, size), 2 * left // 3))
        for colour, text in ((drawn.colours[subject], first), (drawn.colours[target], last)):
            pen.rectangle((at, middle - swatch // 2, at + swatch - 1, middle - swatch // 2 + swatch - 1), fill=colour)
            shown = fit_text(text, size, left)
            pen.text((at + swatch + joint, middle), shown, INK, font_of(size), anchor="lm")
            at, left = at + swatch + 2 * joint + text_width(shown, size), left - text_width(shown, size)
    return picture


def _line(text: str, canvas: Canvas, width: int) -> Image.Image:
    size, row = canvas.text, round(canvas.text * 1.7)
    lines = wrap_text(text, size, width - 2 * size)
    picture = Image.new("RGB", (width, row * len(lines) + size // 2), PAPER)
    for index, line in enumerate(lines):
        at = (size, row // 2 + index * row)
        ImageDraw.Draw(picture).text(at, line, FAINT, font_of(size), anchor="lm")
    return picture
