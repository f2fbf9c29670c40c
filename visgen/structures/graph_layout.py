"""Where the nodes, arrows and labels of a small node-link diagram go.

Nodes start where their boxes lie in the photograph. Coordinate descent then moves one node at a time to the candidate
place that costs least, where a cost counts what makes a diagram hard to read: nodes that overlap, arrows through nodes,
arrows that cross or are too short for their label, covered labels, and places far from the box. No random numbers: the
same graph always gives the same diagram.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["GraphLayout", "lay_out_graph"]

# Costs in one unit: an arrow that crosses another is worth moving a node by a fifth of the diagram's diagonal. Set by
# eye on diagrams of 3 to 15 boxes.
AWAY, TURNED, CROSSING, THROUGH, COVERED, SHORT, OVERLAP = 20.0, 6.0, 4.0, 10.0, 8.0, 8.0, 1000.0
ROUNDS = 8
STRETCH = 3.0  # boxes huddled together are spread at most this much
PLACES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74)  # where a label may sit along its arrow


@dataclass(frozen=True)
class GraphLayout:
    """A diagram in pixels.

    Args:
        size: (height, width); the height may be more than was asked for.
        nodes: Rectangles (n, 4) xyxy, inside the diagram and apart from one another.
        arrows: (m, 4): start x, y on the border of the subject's node, end x, y on the border of the object's.
        labels: Rectangles (m, 4) xyxy, centred on their arrows.
    """

    size: tuple[int, int]
    nodes: np.ndarray
    arrows: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class _Graph:
    """What is laid out: half sizes of nodes (n, 2) and labels (m, 2), ends of the edges (m, 2), the wanted centres."""

    halves: np.ndarray
    ends: np.ndarray
    label_halves: np.ndarray
    wanted: np.ndarray
    gap: float
    diagonal: float


def lay_out_graph(
    anchors: np.ndarray,
    node_sizes: np.ndarray,
    edges: np.ndarray,
    label_sizes: np.ndarray,
    size: tuple[int, int],
    gap: float,
) -> GraphLayout:
    """Place nodes near their anchors without overlap, and arrows with labels between them.

    Args:
        anchors: Wanted centres (n, 2), x and y in the unit square; others are pulled into it.
        node_sizes: (n, 2) width and height in pixels, each narrower than the diagram.
        edges: (m, 2) int: the subject's node and the object's, never the same.
        label_sizes: (m, 2) width and height in pixels.
        size: (height, width) of the diagram; the height grows until all nodes find room.
        gap: Least distance between two nodes, and between a node and the edge of the diagram, in pixels.
    """
    height, width = size
    halves = np.asarray(node_sizes, dtype=np.float64) / 2
    ends = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    label_halves = np.asarray(label_sizes, dtype=np.float64).reshape(-1, 2) / 2
    while True:
        low, high = halves + gap, np.array([width, height]) - halves - gap
        high = np.maximum(low, high)
        wanted = _spread(np.clip(anchors, 0, 1) * (width, height), low, high)
        graph = _Graph(halves, ends, label_halves, wanted, gap, float(np.hypot(width, height)))
        centres = _descend(graph, low, high)
        if not _overlapping(graph, centres):
            break
        height = int(height * 1.25) + 1  # enough rows for all of them exist in the end
    arrows = _arrows(centres, halves, ends)
    nodes = np.concatenate((centres - halves, centres + halves), axis=1)
    return GraphLayout((height, width), nodes, arrows, _labels(graph, centres, arrows))


def _spread(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Stretch the cloud of points towards the whole room, by `STRETCH` at most; left stays left, above stays above."""
    if len(points) == 0:
        return points
    first, last = points.min(axis=0), points.max(axis=0)
    room_low, room_high = low.max(axis=0), high.min(axis=0)
    extent = np.maximum(last - first, 1e-9)
    factor = np.clip((room_high - room_low) / extent, None, STRETCH)
    half = factor * extent / 2
    middle = np.clip((first + last) / 2, room_low + half, np.maximum(room_low + half, room_high - half))
    return np.clip(middle + (points - (first + last) / 2) * factor, low, high)


def _descend(graph: _Graph, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    centres = graph.wanted.copy()
    degree = np.bincount(graph.ends.ravel(), minlength=len(centres))
    order = np.argsort(-degree, kind="stable")  # the busy nodes choose first
    for _ in range(ROUNDS):
        before = centres.copy()
        for node in order.tolist():
            places = _candidates(graph, centres[node], node, low[node], high[node])
            trial = np.repeat(centres[None], len(places), axis=0)  # (k, n, 2)
            trial[:, node] = places
            centres[node] = places[int(_cost(graph, trial, node).argmin())]
        if np.array_equal(before, centres):
            break
    return centres


def _candidates(graph: _Graph, now: np.ndarray, node: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Give the places (k, 2) to try for a node, where it is now first: fine steps around, and a grid over the room."""
    step = 2 * graph.halves.max(axis=0) + graph.gap
    counts = np.maximum(2, np.ceil((high - low) / np.array([step[0] / 2, step[1] * 0.8])).astype(int) + 1)
    xs, ys = (np.linspace(low[i], high[i], counts[i]) for i in (0, 1))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    offsets = np.array([(x, y) for r in (0.3, 0.8, 2) for x in (-r, 0, r) for y in (-r, 0, r) if x or y])
    return np.clip(np.concatenate((now[None], graph.wanted[node][None], now + offsets * graph.gap, grid)), low, high)


def _cost(graph: _Graph, centres: np.ndarray, node: int) -> np.ndarray:
    """Give the cost (k,) of k layouts (k, n, 2) that differ in the place of one node."""
    away = np.linalg.norm(centres[:, node] - graph.wanted[node], axis=-1)
    distance = np.abs(centres - centres[:, node : node + 1])
    depth = _least(graph.halves + graph.halves[node] + graph.gap - distance)  # (k, n) > 0: overlap
    depth[:, node] = 0
    cost = AWAY * away / graph.diagonal + (OVERLAP * (depth > 1e-6)).sum(axis=1) + depth.clip(min=0).sum(axis=1)
    if len(graph.ends) == 0:
        return cost
    subject, target = graph.ends.T
    a, b = centres[:, subject], centres[:, target]  # (k, m, 2)
    delta = b - a
    length = np.linalg.norm(delta, axis=-1) + 1e-9
    first, last = _leave(delta, graph.halves[subject]), _leave(delta, graph.halves[target])
    middle = a + delta * ((first + 1 - last) / 2)[..., None]  # (k, m, 2): where the label sits
    chord = 2 * _leave(delta, graph.label_halves) * length  # how much of the arrow the label hides
    missing = chord + 2.4 * graph.gap - (1 - first - last) * length
    cost += (SHORT * np.clip(missing / graph.gap, 0, 4)).sum(axis=1)
    wish = graph.wanted[target] - graph.wanted[subject]
    cosine = (delta * wish).sum(axis=-1) / (length * (np.linalg.norm(wish, axis=-1) + 1e-9))
    cost += (TURNED * (1 - cosine)).sum(axis=1)

    count, edges = len(graph.halves), len(graph.ends)
    own = (np.arange(count) == subject[:, None]) | (np.arange(count) == target[:, None])  # (m, n)
    through = _crosses_box(a, b, centres, graph.halves + graph.gap / 2) & ~own
    on_node = _boxes_touch(middle, graph.label_halves, centres, graph.halves + graph.gap / 4) & ~own
    cost += THROUGH * through.sum(axis=(1, 2)) + COVERED * on_node.sum(axis=(1, 2))
    on_label = _boxes_touch(middle, graph.label_halves, middle, graph.label_halves + graph.gap / 4)
    under = _crosses_box(a, b, middle, graph.label_halves)
    apart = ~np.eye(edges, dtype=bool)
    cost += COVERED * ((on_label & apart).sum(axis=(1, 2)) / 2 + (under & apart).sum(axis=(1, 2)) / 2)
    joined = (graph.ends[:, None, :, None] == graph.ends[None, :, None, :]).any(axis=(2, 3))
    return cost + CROSSING * (_cross(a, b) & ~joined).sum(axis=(1, 2)) / 2


def _leave(delta: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Give the share (..., m) of each step `delta` from the centre of a box at which it leaves the box."""
    return _least(halves / np.maximum(np.abs(delta), 1e-9))


def _least(pairs: np.ndarray) -> np.ndarray:
    """Give the lesser of x and y, (...) for (..., 2); numpy's `min` over so short an axis is ten times slower."""
    return np.minimum(pairs[..., 0], pairs[..., 1])


def _boxes_touch(one: np.ndarray, one_halves: np.ndarray, other: np.ndarray, other_halves: np.ndarray) -> np.ndarray:
    """Tell (k, m, n) whether boxes around centres (k, m, 2) and (k, n, 2) overlap."""
    near = [
        np.abs(one[:, :, None, i] - other[:, None, :, i]) < one_halves[:, None, i] + other_halves[None, :, i]
        for i in (0, 1)
    ]
    return near[0] & near[1]


def _crosses_box(a: np.ndarray, b: np.ndarray, centres: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Tell (k, m, n) whether the segment from a to b, (k, m, 2), meets the box around a centre (k, n, 2)."""
    enters, leaves = [], []
    for i in (0, 1):  # where the line enters and leaves the slab along each axis
        start, delta = a[:, :, None, i] - centres[:, None, :, i], (b - a)[:, :, None, i]
        delta = np.where(np.abs(delta) < 1e-9, 1e-9, delta)
        middle, reach = -start / delta, np.abs(halves[None, None, :, i] / delta)
        enters.append(middle - reach)
        leaves.append(middle + reach)
    first, last = np.maximum(*enters), np.minimum(*leaves)
    return (first < last) & (last > 0) & (first < 1)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Tell (k, m, m) whether segments a-b cross one another."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        one, two = q - p, r - p
        return one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]

    p, q, r, s = a[:, :, None], b[:, :, None], a[:, None], b[:, None]
    return (side(p, q, r) * side(p, q, s) < 0) & (side(r, s, p) * side(r, s, q) < 0)


def _overlapping(graph: _Graph, centres: np.ndarray) -> bool:
    distance = np.abs(centres[:, None] - centres[None])
    near = (distance < graph.halves[:, None] + graph.halves[None] + graph.gap - 1e-3).all(axis=-1)
    return bool((near & ~np.eye(len(centres), dtype=bool)).any())


def _arrows(centres: np.ndarray, halves: np.ndarray, ends: np.ndarray) -> np.ndarray:
    a, b = centres[ends[:, 0]], centres[ends[:, 1]]
    delta = b - a
    first, last = _leave(delta, halves[ends[:, 0]]), _leave(delta, halves[ends[:, 1]])
    return np.concatenate((a + delta * first[:, None], b - delta * last[:, None]), axis=1)


def _labels(graph: _Graph, centres: np.ndarray, arrows: np.ndarray) -> np.ndarray:
    """Slide each label along its arrow to where it covers least; all stay centred on their arrows."""
    start, end = arrows[:, :2], arrows[:, 2:]
    at = (start + end) / 2
    for edge in range(len(arrows)):
        half = graph.label_halves[edge][None]
        spots = np.stack([start[edge] + (end[edge] - start[edge]) * share for share in PLACES])[None]  # (1, p, 2)
        others = np.arange(len(arrows)) != edge
        nodes = _boxes_touch(spots, half, centres[None], graph.halves + 2).sum(axis=(0, 2))
        labels = _boxes_touch(spots, half, at[None, others], graph.label_halves[others] + 2).sum(axis=(0, 2))
        lines = _crosses_box(start[None, others], end[None, others], spots, half).sum(axis=(0, 1))
        at[edge] = spots[0, int((4 * nodes + 2 * labels + lines).argmin())]
    return np.concatenate((at - graph.label_halves, at + graph.label_halves), axis=1)
