"""A pipeline with an instruction, and what people see of boxes and relations without one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from visgen import pipeline
from visgen.errors import ConfigError, UnknownName
from visgen.pipelines.run import DISPLAY_THRESHOLD, MOST_TRIPLETS, RunOptions, limit_value
from visgen.structures import Boxes, Result, SceneGraph
from visgen.task import MultiTaskModel


@pytest.fixture(scope="module")
def pipe(finder: MultiTaskModel) -> Any:
    return pipeline(None, finder, device="cpu")


def test_requests_choose_the_heads_and_leave_the_other_fields_empty(pipe: Any, picture: np.ndarray) -> None:
    whole = pipe(picture)
    result = pipe(picture, "Find the cars, and segment the road!")
    assert set(result.detection.names) == {"car"}
    assert len(result.detection) == whole.detection.names.count("car") > 0
    road = result.segmentation  # one label set knows the road, so the field is its map
    assert road.name == "camvid" and set(road.ids.unique().tolist()) <= {1, 255}
    assert torch.equal(road.ids == 1, whole.segmentation["camvid"].ids == 1)
    assert result.depth is result.classification is result.scene_graph is None


def test_the_request_is_told_and_survives_json(pipe: Any, picture: np.ndarray) -> None:
    result = pipe(picture, instruction="how many cars and dogs are there?")
    request = json.loads(result.to_json())["request"]
    assert request == result.request == Result.from_json(result.to_json()).request
    assert request["instruction"] == "how many cars and dogs are there?"
    assert request["requests"][0]["classes"] == ["car", "dog"]
    assert request["heads"] == [["detection"]] and request["helpers"] == [[]]
    assert request["answers"] == [{"count": {"car": len(result.detection), "dog": 0}}]
    assert pipe(picture).request is None


def test_depth_of_a_class_is_the_whole_depth_where_the_map_has_the_class(pipe: Any, picture: np.ndarray) -> None:
    whole, result = pipe(picture), pipe(picture, "how far is the sky?")
    inside = whole.segmentation["camvid"].ids == 0
    assert torch.equal(result.depth.metres, whole.depth.metres.where(inside, 0.0))
    assert result.segmentation is None and result.request["helpers"] == [["segmentation.camvid"]]


def test_a_question_to_the_graph_is_looked_for_in_all_of_it(pipe: Any, picture: np.ndarray) -> None:
    result, every = pipe(picture, "what overlaps the car?"), pipe(picture, threshold=0).scene_graph
    assert result.detection is None and result.request["requests"][0]["relation"] == [None, "overlaps", "car"]
    graph, expected = result.scene_graph, every.where(None, "overlaps", "car").top(MOST_TRIPLETS)
    assert 0 < len(graph) <= MOST_TRIPLETS and graph.names == expected.names
    assert torch.allclose(graph.scores, expected.scores)
    assert all(predicate == "overlaps" and target == "car" for _, predicate, target in graph.names)
    assert pipe(picture, "what is on the dog?").scene_graph.names == ()  # no dog is among the surest boxes
    with pytest.raises(UnknownName, match="relation 'riding' .* It knows on, left of, overlaps"):
        pipe(picture, "who is riding the dog?")


def test_a_list_and_a_sentence_give_the_same_answer(pipe: Any, picture: np.ndarray) -> None:
    asked = ("find all the cars and the people", ["cars", "people"])
    sentence, listed = (pipe(picture, words, threshold=0).detection for words in asked)
    assert torch.equal(sentence.xyxy, listed.xyxy)
    assert set(listed.names) == {"car", "person"}


def test_one_is_the_best(pipe: Any, picture: np.ndarray) -> None:
    best = pipe(picture, "find one person").detection
    assert len(best) == 1
    assert best.scores[0] == pipe(picture, threshold=0).detection.where("person").scores.max()


def test_of_two_boxes_in_one_place_the_surer_is_shown() -> None:
    xyxy = torch.tensor([[0.0, 0, 20, 20], [1, 0, 20, 20], [30, 0, 50, 20]])
    boxes = Boxes(xyxy, torch.tensor([0, 1, 0]), (60, 60), ("cat", "dog"), scores=torch.tensor([0.4, 0.6, 0.5]))
    cpu = RunOptions(torch.device("cpu"), torch.float32, "moe", 320, 0)
    assert limit_value(boxes, cpu).names == ("dog", "cat") and len(limit_value(boxes, replace(cpu, threshold=0.3))) == 3


def test_top_k_counts_what_was_asked(pipe: Any, picture: np.ndarray) -> None:
    found = pipe(picture, "find the people", top_k=3).detection
    assert found.names == ("person",) * 3  # though cars score higher
    with pytest.raises(ConfigError, match="top_k is 3 but it limits detections and relations, .* asked are depth;"):
        pipe(picture, "how far is everything?", top_k=3)


def test_an_instruction_stays_within_the_tasks_named(finder: MultiTaskModel, picture: np.ndarray) -> None:
    maps = pipeline(["segmentation.camvid", "depth"], finder, device="cpu")
    result = maps(picture, "segment the car")
    assert result.segmentation.name == "camvid" and result.depth is None
    with pytest.raises(ConfigError, match="asks for detection .* made for segmentation, depth"):
        maps(picture, "find the car")


def test_a_wrong_instruction_is_refused_before_an_input_is_opened(pipe: Any) -> None:
    for instruction in ("find the unicorn", "frobnicate the car", "", ["car", "truk"]):
        with pytest.raises(UnknownName):
            pipe("no such file.png", instruction, on_error="record")
        with pytest.raises(UnknownName):
            pipe(iter(["no such file.png"]), instruction)
    with pytest.raises(ConfigError, match="the instruction is 0.5"):
        pipe("no such file.png", 0.5)


def test_unreadable_pictures_keep_the_request(pipe: Any) -> None:
    result = pipe("no such file.png", "find the cars", on_error="record")
    assert result.error is not None and result.request["heads"] == [["detection"]]


def test_batches_and_chains_obey_it_too(pipe: Any, picture: np.ndarray) -> None:
    alone = pipe(picture, "find the cars")
    for results in (
        pipe([picture, picture], "find the cars", batch_size=2),
        list(pipe(iter([picture, picture]), "find the cars")),
        list(pipe.chain([picture, picture], "find the cars")),
    ):
        assert [len(r.detection) for r in results] == [len(alone.detection)] * 2
        assert torch.allclose(results[1].detection.xyxy, alone.detection.xyxy, atol=1e-3)


def test_boxes_are_shown_from_the_display_threshold_on(pipe: Any, picture: np.ndarray) -> None:
    shown, every = pipe(picture).detection, pipe(picture, threshold=0).detection
    assert shown.scores.min() >= DISPLAY_THRESHOLD and "dog" not in shown.names
    assert len(shown) <= len(every) <= 100
    assert len(pipe(picture, threshold=1).detection) == 0
    assert (pipe(picture).segmentation["coco"].ids != 255).all()  # maps are shown whole


def test_a_threshold_for_boxes_leaves_maps_without_confidence_whole(
    pipe: Any, finder: MultiTaskModel, picture: np.ndarray
) -> None:
    result = pipe(picture, threshold=0.5)
    assert set(result.detection.names) == {"car"} and (result.segmentation["coco"].ids != 255).all()
    maps = pipeline("segmentation", finder, device="cpu")
    with pytest.raises(ConfigError, match="threshold is 0.5 but the segmentation of this model carries no confidence"):
        maps(picture, threshold=0.5)
    assert maps(picture, threshold=0).segmentation.ids.shape == (60, 80)


OPTIONS = RunOptions(torch.device("cpu"), torch.float32, "moe", 320, 0)


def crowded(count: int = 30) -> SceneGraph:
    """`count` boxes in a row, each on and under the next; the score of "on" falls along the row."""
    corners = torch.tensor([[i, 0.0, i + 1, 1] for i in range(count)])
    boxes = Boxes(corners, torch.zeros(count, dtype=torch.int64), (4, count), ("cup",), torch.full((count,), 0.1))
    pairs = [[i, i + 1, p] for i in range(count - 1) for p in (0, 1)]
    scores = torch.tensor([0.9 - 0.01 * i - 0.3 * p for i in range(count - 1) for p in (0, 1)])
    return SceneGraph(boxes, torch.tensor(pairs), ("on", "under"), scores)


def test_a_graph_is_shown_by_the_best_predicate_of_its_best_pairs() -> None:
    shown = limit_value(crowded(), OPTIONS)
    assert len(shown) == MOST_TRIPLETS and {p for _, p, _ in shown.names} == {"on"}
    assert len(shown.boxes) == MOST_TRIPLETS + 1  # those that stand in a triplet
    assert torch.equal(shown.scores, crowded().constrained().top(MOST_TRIPLETS).scores)
    assert shown.boxes.xyxy[shown.triplets[:, 0], 0].tolist() == list(range(MOST_TRIPLETS))


def test_the_limits_of_a_graph_can_be_moved() -> None:
    assert len(limit_value(crowded(), replace(OPTIONS, top_k=3))) == 3
    strict = limit_value(crowded(), replace(OPTIONS, threshold=0.855))
    assert len(strict) == 5 and strict.scores.min() >= 0.855
    every = limit_value(crowded(), replace(OPTIONS, threshold=0.0))
    assert len(every) == len(crowded()) and len(every.boxes) == 30
    assert len(limit_value(crowded(), replace(OPTIONS, threshold=0.0, top_k=7))) == 7
    empty = limit_value(crowded().select(torch.zeros(58, dtype=torch.bool)), OPTIONS)
    assert len(empty) == len(empty.boxes) == 0


def test_targets_have_no_scores_and_stay_whole() -> None:
    boxes = replace(crowded().boxes, scores=None)
    assert limit_value(boxes, OPTIONS) is boxes
    graph = replace(crowded(), scores=None)
    assert limit_value(graph, OPTIONS) is graph
