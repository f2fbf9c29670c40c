"""What stays of typed values when a part was asked, by hand and as laws."""

from __future__ import annotations

import pytest
import torch

from visgen.language import TaskRequest
from visgen.pipelines.narrow import class_region, narrow_boxes, narrow_depth, narrow_graph, narrow_map
from visgen.structures import Boxes, DepthMap, Masks, SceneGraph, SemanticMap

NAMES = ("car", "person", "dog")


def boxes() -> Boxes:
    """car .9, person .8, car .7, dog .2, in an image of 10 x 12."""
    corners = torch.tensor([[0.0, 0, 4, 4], [5, 1, 8, 9], [1.5, 6.2, 3.1, 7.9], [9, 9, 12, 10]])
    labels = torch.tensor([0, 1, 0, 2])
    return Boxes(corners, labels, (10, 12), NAMES, torch.tensor([0.9, 0.8, 0.7, 0.2]))


def detect(*classes: str, exclude: tuple[str, ...] = (), quantifier: str = "all") -> TaskRequest:
    return TaskRequest("detection", classes, exclude, quantifier=quantifier)


@pytest.mark.parametrize(
    ("requests", "scores"),
    [
        ([detect("car")], [0.9, 0.7]),
        ([detect("car", "person")], [0.9, 0.8, 0.7]),
        ([detect("car"), detect("person")], [0.9, 0.8, 0.7]),
        ([detect(exclude=("car",))], [0.8, 0.2]),
        ([detect(exclude=("car",)), detect("car", quantifier="one")], [0.9, 0.8, 0.2]),
        ([detect("car", "dog", quantifier="one")], [0.9, 0.2]),
        ([detect(quantifier="one")], [0.9]),
        ([detect("dog", quantifier="count")], [0.2]),
        ([detect("dog"), detect()], [0.9, 0.8, 0.7, 0.2]),
    ],
)
def test_boxes_by_hand(requests: list[TaskRequest], scores: list[float]) -> None:
    kept = narrow_boxes(boxes(), requests)
    assert kept.scores.tolist() == pytest.approx(scores)
    assert kept.classes == NAMES and kept.size == (10, 12)


def test_what_is_asked_whole_is_the_same_object() -> None:
    value = boxes()
    assert narrow_boxes(value, []) is narrow_boxes(value, [detect()]) is value
    assert narrow_boxes(value, [detect(quantifier="count"), detect("car")]) is value


def test_nothing_found_is_an_empty_answer() -> None:
    empty = boxes().select(torch.zeros(4, dtype=torch.bool))
    for request in (detect("car"), detect("car", quantifier="one"), detect(exclude=("car",))):
        assert len(narrow_boxes(empty, [request])) == 0
    assert len(narrow_boxes(boxes().where("dog"), [detect("car", quantifier="one")])) == 0


def test_masks_narrow_as_boxes_do() -> None:
    planes = torch.zeros(2, 3, 3, dtype=torch.bool)
    planes[0, 0], planes[1, 1] = True, True
    kept = narrow_boxes(Masks(planes, torch.tensor([0, 1]), NAMES), [detect("person")])
    assert isinstance(kept, Masks) and kept.names == ("person",) and torch.equal(kept.masks[0], planes[1])


def street() -> SemanticMap:
    """A row of car, person, dog and unlabelled; the confidence is 0.5."""
    return SemanticMap(torch.tensor([[0, 1, 2, 255]]), NAMES, torch.full((1, 4), 0.5), "street")


def segment(*classes: str, exclude: tuple[str, ...] = ()) -> TaskRequest:
    return TaskRequest("segmentation", classes, exclude)


@pytest.mark.parametrize(
    ("requests", "ids"),
    [
        ([segment("car")], [0, 255, 255, 255]),
        ([segment("car"), segment("dog")], [0, 255, 2, 255]),
        ([segment(exclude=("car",))], [255, 1, 2, 255]),
        ([segment("car", "dog", exclude=("dog",))], [0, 255, 255, 255]),
        ([segment("road")], [255, 255, 255, 255]),
    ],
)
def test_maps_by_hand(requests: list[TaskRequest], ids: list[int]) -> None:
    kept = narrow_map(street(), requests)
    assert kept.ids[0].tolist() == ids
    assert (kept.name, kept.classes) == ("street", NAMES) and torch.equal(kept.confidence, street().confidence)


def test_a_region_limits_its_own_request_only() -> None:
    region = torch.tensor([[False, True, True, True]])
    assert narrow_map(street(), [segment("car", "person")], [region]).ids[0].tolist() == [255, 1, 255, 255]
    both = narrow_map(street(), [segment("car", "person"), segment("car")], [region, None])
    assert both.ids[0].tolist() == [0, 1, 255, 255]
    whole = street()
    assert narrow_map(whole, [segment()]) is whole


def test_depth_outside_the_regions_is_missing() -> None:
    depth = DepthMap(torch.tensor([[1.0, 2, 3, 4]]), "relative")
    left, middle = torch.tensor([[True, False, False, False]]), torch.tensor([[False, True, False, False]])
    assert narrow_depth(depth, [left]).metres[0].tolist() == [1, 0, 0, 0]
    assert narrow_depth(depth, [left, middle]).metres[0].tolist() == [1, 2, 0, 0]
    assert narrow_depth(depth, [left]).kind == "relative"
    assert narrow_depth(depth, [left, None]) is narrow_depth(depth, []) is depth


def test_the_region_of_a_class_is_its_pixels_or_what_its_boxes_touch() -> None:
    assert class_region(street(), "person")[0].tolist() == [False, True, False, False]
    region = class_region(boxes(), "car")
    assert int(region.sum()) == 16 + 3 * 2  # 4 x 4 pixels, and (1.5 .. 3.1) x (6.2 .. 7.9) outwards: 1..3 and 6..7
    assert bool(region[6:8, 1:4].all()) and bool(region[:4, :4].all())
    assert int(class_region(boxes(), "car", one=True).sum()) == 16
    assert not class_region(boxes().where("dog"), "car").any()


def graph() -> SceneGraph:
    """car0 on person1 .9, car2 left person1 .6, person1 on dog3 .8, dog3 left car0 .1."""
    triplets = torch.tensor([[0, 1, 0], [2, 1, 1], [1, 3, 0], [3, 0, 1]])
    return SceneGraph(boxes(), triplets, ("on", "left of"), torch.tensor([0.9, 0.6, 0.8, 0.1]))


def relate(*relation: str | None) -> TaskRequest:
    return TaskRequest("scene_graph", relation=relation)  # type: ignore[arg-type]


RELATIONS = [
    (None, "on", "dog"),
    ("car", None, "person"),
    ("car", "left of", None),
    (None, "on", None),
    ("dog", "on", "car"),
    (None, None, "person"),
]


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_relation_keeps_what_where_keeps(relation: tuple[str | None, str | None, str | None]) -> None:
    kept, expected = narrow_graph(graph(), [relate(*relation)]), graph().where(*relation).ranked()
    assert torch.equal(kept.triplets, expected.triplets) and torch.equal(kept.scores, expected.scores)
    assert len(kept.boxes) == 4


@pytest.mark.parametrize(
    ("classes", "exclude", "scores"),
    [
        (("dog",), (), [0.8, 0.1]),
        (("car", "person"), (), [0.9, 0.6]),
        (("dog", "car"), (), [0.1]),
        ((), ("dog",), [0.9, 0.6]),
        (("person",), ("car",), [0.8]),
    ],
)
def test_graphs_by_class(classes: tuple[str, ...], exclude: tuple[str, ...], scores: list[float]) -> None:
    kept = narrow_graph(graph(), [TaskRequest("scene_graph", classes, exclude)])
    assert kept.scores.tolist() == pytest.approx(scores)


def test_two_questions_to_the_graph_give_both_answers_best_first() -> None:
    kept = narrow_graph(graph(), [relate("car", "left of", None), relate(None, "on", "dog")])
    assert kept.names == (("person", "on", "dog"), ("car", "left of", "person"))
    whole = graph()
    assert narrow_graph(whole, [TaskRequest("scene_graph"), relate(None, "on", "dog")]) is whole


def test_a_graph_of_targets_keeps_its_order() -> None:
    target = SceneGraph(boxes(), graph().triplets, ("on", "left of"))
    assert narrow_graph(target, [relate(None, "on", None)]).triplets[:, :2].tolist() == [[0, 1], [1, 3]]
