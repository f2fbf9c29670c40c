"""Laying out a diagram: nodes apart and near their anchors, arrows from border to border, labels on their arrows."""

from __future__ import annotations

import numpy as np
import pytest

from visgen.structures.graph_layout import GraphLayout, lay_out_graph

GAP = 12.0


def laid_out(nodes: int, edges: int, size: tuple[int, int] = (427, 640), seed: int = 0) -> GraphLayout:
    random = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(nodes) for j in range(nodes) if i != j]
    chosen = [pairs[k] for k in random.permutation(len(pairs))[:edges]]
    widths = random.integers(40, 120, nodes)
    labels = random.integers(20, 70, len(chosen))
    return lay_out_graph(
        random.random((nodes, 2)),
        np.stack((widths, np.full(nodes, 30)), axis=1),
        np.array(chosen).reshape(-1, 2),
        np.stack((labels, np.full(len(chosen), 18)), axis=1),
        size,
        GAP,
    )


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """The distance of two rectangles along the axis on which they are farther apart; negative where they overlap."""
    return float(np.maximum(one[:2] - other[2:], other[:2] - one[2:]).max())


@pytest.mark.parametrize("size", [(427, 640), (640, 330), (100, 330)])
@pytest.mark.parametrize(("nodes", "edges"), [(1, 0), (2, 1), (5, 8), (13, 12), (24, 12)])
def test_nodes_stay_apart_and_inside(nodes: int, edges: int, size: tuple[int, int]) -> None:
    layout = laid_out(nodes, edges, size, seed=nodes)
    assert layout.size[1] == size[1] and layout.size[0] >= size[0]
    low, high = layout.nodes[:, :2], layout.nodes[:, 2:]
    assert (low >= GAP - 1e-6).all() and (high <= np.array([layout.size[1], layout.size[0]]) - GAP + 1e-6).all()
    for i in range(nodes):
        for j in range(i):
            assert apart(layout.nodes[i], layout.nodes[j]) >= GAP - 1e-2


def on_border(point: np.ndarray, box: np.ndarray) -> bool:
    inside = (box[:2] - 1e-6 <= point).all() and (point <= box[2:] + 1e-6).all()
    return bool(inside and min(np.abs(point - box[:2]).min(), np.abs(point - box[2:]).min()) < 1e-6)


def test_arrows_run_from_border_to_border_and_labels_sit_on_them() -> None:
    random = np.random.default_rng(3)
    ends = np.array([(0, 1), (2, 1), (3, 4), (4, 0), (5, 3)])
    layout = lay_out_graph(
        random.random((6, 2)), np.full((6, 2), (80, 30)), ends, np.full((5, 2), (40, 18)), (400, 600), GAP
    )
    for (subject, target), arrow, label in zip(ends, layout.arrows, layout.labels, strict=True):
        assert on_border(arrow[:2], layout.nodes[subject]) and on_border(arrow[2:], layout.nodes[target])
        middle, along = (label[:2] + label[2:]) / 2 - arrow[:2], arrow[2:] - arrow[:2]
        assert abs(middle[0] * along[1] - middle[1] * along[0]) / np.linalg.norm(along) < 1e-6  # on the line
        assert 0 < middle @ along / (along @ along) < 1
        assert all(apart(label, node) > 0 for node in layout.nodes)  # a label covers no node
    for index, label in enumerate(layout.labels):
        assert all(apart(label, other) > 0 for other in layout.labels[:index])


def test_nodes_with_room_stay_where_their_boxes_are() -> None:
    """Four boxes at the corners keep left and right, above and below, and their arrows do not cross."""
    anchors = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
    ends = np.array([(0, 1), (2, 3)])
    layout = lay_out_graph(anchors, np.full((4, 2), (80, 30)), ends, np.full((2, 2), (40, 18)), (400, 600), GAP)
    centres = (layout.nodes[:, :2] + layout.nodes[:, 2:]) / 2
    assert np.abs(centres - anchors * (600, 400)).max() < 60
    assert (layout.arrows[:, 2] > layout.arrows[:, 0]).all()  # both point right, as in the picture


def test_a_node_leaves_the_way_of_an_arrow() -> None:
    """Three boxes in a row, the outer two related: the middle one steps aside."""
    anchors = np.array([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]])
    layout = lay_out_graph(
        anchors, np.full((3, 2), (80, 30)), np.array([(0, 2)]), np.array([(40, 18)]), (400, 600), GAP
    )
    x1, y1, x2, y2 = layout.arrows[0]
    steps = np.linspace(0, 1, 200)[:, None]
    points = np.array([x1, y1]) * (1 - steps) + np.array([x2, y2]) * steps
    left, top, right, bottom = layout.nodes[1]
    inside = (points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] > top) & (points[:, 1] < bottom)
    assert not inside.any()


def test_boxes_in_one_spot_are_spread_and_the_layout_is_repeatable() -> None:
    same = [
        lay_out_graph(
            np.full((6, 2), 0.5),
            np.full((6, 2), (90, 30)),
            np.array([(0, 1), (1, 2)]),
            np.full((2, 2), (30, 18)),
            (300, 400),
            GAP,
        )
        for _ in range(2)
    ]
    assert np.array_equal(same[0].nodes, same[1].nodes) and np.array_equal(same[0].labels, same[1].labels)
    assert all(apart(same[0].nodes[i], same[0].nodes[j]) > 0 for i in range(6) for j in range(i))
