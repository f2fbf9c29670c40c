"""The scene graph's picture: which relations, whose names, and every size from none to fifty boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from visgen.structures import Boxes, SceneGraph, class_palette, graph_drawing
from visgen.structures.canvas import PAPER, open_canvas
from visgen.structures.graph_drawing import draw_scene_graph, node_names, relations_to_draw

CLASSES = ("person", "horse", "a class with a very long name that will not fit anywhere at all")
PREDICATES = ("on", "under", "left of", "right of")


def photograph(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(90, 130, (*size, 3), dtype=np.uint8)


def graph(
    count: int,
    triplets: list[tuple[int, int, int]],
    scores: list[float] | None = None,
    size: tuple[int, int] = (240, 320),
) -> SceneGraph:
    random = torch.Generator().manual_seed(count)
    corners = torch.rand(count, 4, generator=random)
    corners = torch.cat((corners[:, :2] * 0.7, corners[:, :2] * 0.7 + 0.05 + corners[:, 2:] * 0.25), dim=1)
    boxes = Boxes(
        corners * torch.tensor([size[1], size[0], size[1], size[0]]), torch.arange(count) % len(CLASSES), size, CLASSES
    )
    held = None if scores is None else torch.tensor(scores)
    return SceneGraph(boxes, torch.tensor(triplets, dtype=torch.int64).reshape(-1, 3), PREDICATES, held)


def all_pairs(count: int, size: tuple[int, int] = (240, 320)) -> SceneGraph:
    triplets = [(i, j, (i + j) % 4) for i in range(count) for j in range(count) if i != j]
    scores = torch.rand(len(triplets), generator=torch.Generator().manual_seed(0)).tolist()
    return graph(count, triplets, scores, size)


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every layout that a drawing makes."""
    made: list[Any] = []
    real = graph_drawing.lay_out_graph
    monkeypatch.setattr(graph_drawing, "lay_out_graph", lambda *given: made.append(real(*given)) or made[-1])
    return made


def test_two_boxes_share_one_relation_the_surest() -> None:
    triplets = [(0, 1, 0), (1, 0, 1), (0, 1, 2), (2, 1, 3), (0, 2, 2)]
    assert relations_to_draw(graph(3, triplets, [0.5, 0.9, 0.6, 0.7, 0.95])) == ([4, 1, 3], 0)
    assert relations_to_draw(graph(3, triplets, [0.5, 0.9, 0.6, 0.7, 0.95]), most=1) == ([4], 2)
    assert relations_to_draw(graph(3, triplets)) == ([0, 3, 4], 0)  # a target: the first listed
    assert relations_to_draw(graph(3, [])) == ([], 0)
    assert relations_to_draw(graph(3, [(2, 1, 0), (0, 1, 0)], [0.5, 0.5])) == ([1, 0], 0)  # ties in a fixed order


def test_fifty_boxes_give_twelve_relations_and_a_count() -> None:
    chosen, left = relations_to_draw(all_pairs(50))
    value = all_pairs(50)
    assert len(chosen) == 12 and left == 50 * 49 // 2 - 12
    scores = value.scores[chosen].tolist()
    assert scores == sorted(scores, reverse=True) and scores[0] == float(value.scores.max())


def test_names_are_numbered_from_left_to_right_only_where_a_class_occurs_twice() -> None:
    corners = torch.tensor([[60.0, 0, 80, 10], [10, 0, 20, 10], [30, 0, 40, 10], [0, 0, 5, 5]])
    boxes = Boxes(corners, torch.tensor([0, 0, 1, 1]), (100, 100), CLASSES)
    assert node_names(boxes, [0, 1, 2]) == {1: "person 1", 0: "person 2", 2: "horse"}
    assert node_names(boxes, [0, 1, 2, 3])[3] == "horse 1"


def test_only_nodes_that_take_part_are_in_the_diagram(layouts: list[Any]) -> None:
    draw_scene_graph(photograph((240, 320)), graph(9, [(0, 1, 0), (4, 1, 2)]))
    assert len(layouts[0].nodes) == 3 and len(layouts[0].arrows) == 2


def test_the_diagram_stands_beside_the_photograph_or_below_a_wide_one() -> None:
    for size, beside in (((240, 320), True), ((320, 240), True), ((180, 320), True), ((100, 320), False)):
        picture = draw_scene_graph(photograph(size), graph(3, [(0, 1, 0)], size=size))
        canvas = open_canvas(photograph(size), size)
        assert (picture.width > 1.5 * canvas.width) == beside
        drawn = np.asarray(picture)
        ground = (drawn == PAPER).all(axis=-1).mean()
        assert ground < 0.8  # the photograph is there


def test_the_nodes_have_the_colours_of_their_boxes() -> None:
    drawn = np.asarray(draw_scene_graph(photograph((240, 320)), graph(3, [(0, 1, 0)])))
    diagram = drawn[: open_canvas(None, (240, 320)).picture.shape[0], open_canvas(None, (240, 320)).width + 20 :]
    seen = [(diagram == colour).all(axis=-1).sum() for colour in class_palette(3)]
    assert seen[0] > 200 and seen[1] > 200 and seen[2] == 0


@pytest.mark.parametrize("size", [(32, 32), (20, 400), (400, 20), (1, 1), (3000, 4000)])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_every_size_and_count_is_drawn_and_every_text_is_inside(
    size: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges: list[tuple[float, float, float, float]] = []
    real = graph_drawing.ImageDraw.ImageDraw.text

    def text(self: Any, at: Any, words: str, fill: Any = None, font: Any = None, anchor: str = "la") -> None:
        box = self.textbbox(at, words, font=font, anchor=anchor)
        wide, high = self.im.size
        edges.append((box[0], box[1], wide - box[2], high - box[3]))
        real(self, at, words, fill, font, anchor)

    monkeypatch.setattr(graph_drawing.ImageDraw.ImageDraw, "text", text)
    photo = photograph(size)
    before = photo.copy()
    value = all_pairs(count, size)
    picture = draw_scene_graph(photo, value, 700)
    assert picture.mode == "RGB" and picture.height >= open_canvas(photo, size, 700).picture.shape[0]
    assert edges and min(min(edge) for edge in edges) >= 0
    assert np.array_equal(photo, before)
    if count < 50:
        assert np.array_equal(np.asarray(picture), np.asarray(draw_scene_graph(photo, value, 700)))


def test_boxes_outside_the_picture_and_no_photograph() -> None:
    corners = torch.tensor([[-1e9, -1e9, 1e9, 1e9], [500.0, 500, 900, 900], [-90.0, 5, -50, 20]])
    boxes = Boxes(corners, torch.tensor([0, 1, 1]), (64, 64), CLASSES)
    value = SceneGraph(boxes, torch.tensor([[0, 1, 0], [2, 1, 2]]), PREDICATES)
    assert draw_scene_graph(photograph((64, 64)), value).height > 512
    assert draw_scene_graph(None, value).height > 512


def test_long_names_keep_their_numbers() -> None:
    name = graph_drawing._short("a class with a very long name 2", 14, 100)
    assert name.endswith("... 2") and graph_drawing.text_width(name, 14) <= 100
    assert graph_drawing._short("cat 2", 14, 100) == "cat 2"
    assert graph_drawing.text_width(graph_drawing._short("a very long name indeed", 14, 80), 14) <= 80
