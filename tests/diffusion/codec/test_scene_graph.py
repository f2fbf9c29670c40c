"""Triplets as regions: subject, object and predicate come back together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from visgen.diffusion.codec import CodecSettings, PairMatrix, TripletRegions
from visgen.errors import ConfigError, DataError
from visgen.language import TaskRequest
from visgen.structures import Boxes, SceneGraph, pairwise_iou

PREDICATES = tuple(f"p{k}" for k in range(12))
CODEC = TripletRegions(CodecSettings(predicates=PREDICATES))
ASK = TaskRequest("scene_graph", relation=("man", None, "horse"))


def graph(first: list[float], second: list[float], predicate: int, size: tuple[int, int] = (128, 128)) -> SceneGraph:
    boxes = Boxes(torch.tensor([first, second], dtype=torch.float32), torch.tensor([0, 1]), size, ("man", "horse"))
    return SceneGraph(boxes, torch.tensor([[0, 1, predicate]]), PREDICATES)


BOX = st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(8, 38), st.integers(8, 38))


def corners(box: tuple[int, int, int, int]) -> list[float]:
    return [float(n) for n in (box[0], box[1], box[0] + box[2], box[1] + box[3])]


@settings(max_examples=60)
@given(BOX, BOX, st.integers(0, 11))
def test_the_round_trip_is_exact(first: Any, second: Any, predicate: int) -> None:
    value = graph(corners(first), corners(second), predicate)
    picture = CODEC.encode(value, ASK, (128, 128))
    found = CODEC.decode(picture, ASK, (128, 128))
    assert torch.equal(found.boxes.xyxy, value.boxes.xyxy) and found.names == value.names
    assert found.scores is not None and float(found.scores[0]) > 0.99
    torch.testing.assert_close(CODEC.encode(found, ASK, (128, 128)), picture)


@pytest.mark.parametrize("name", sorted(TripletRegions.tolerance))
def test_triplets_stand_every_corruption(name: str, corruptions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    generator = torch.Generator().manual_seed(1)
    for k in range(24):
        x = torch.randint(0, 84, (4,), generator=generator).tolist()
        value = graph([x[0], x[1], x[0] + 30, x[1] + 44], [x[2], x[3], x[2] + 44, x[3] + 24], k % 12)
        found = CODEC.decode(corruptions[name](CODEC.encode(value, ASK, (128, 128))), ASK, (128, 128))
        assert found.names == value.names, (name, k)
        assert float(pairwise_iou(found.boxes.xyxy, value.boxes.xyxy).diagonal().min()) >= 0.75


def test_only_what_was_asked_is_drawn() -> None:
    value = graph([10, 10, 30, 30], [40, 40, 60, 60], 3)
    for relation, drawn in (
        (("man", None, "horse"), True),
        (("man", "p3", "horse"), True),
        ((None, "p3", None), True),
        (("man", "p4", "horse"), False),
        (("horse", None, "man"), False),
    ):
        picture = CODEC.encode(value, TaskRequest("scene_graph", relation=relation), (64, 64))
        assert (float(picture.max()) > -1) is drawn, relation
    found = CODEC.decode(
        CODEC.encode(value, TaskRequest("scene_graph", relation=(None, "p3", "horse")), (64, 64)),
        TaskRequest("scene_graph", relation=(None, "p3", "horse")),
        (128, 128),
    )
    assert found.names == (("something", "p3", "horse"),)


def test_the_best_of_several_triplets_is_drawn() -> None:
    boxes = Boxes(
        torch.tensor([[0.0, 0, 9, 9], [20, 20, 40, 40], [50, 50, 60, 60]]),
        torch.tensor([0, 1, 1]),
        (64, 64),
        ("man", "horse"),
    )
    value = SceneGraph(boxes, torch.tensor([[0, 1, 2], [0, 2, 5]]), PREDICATES, torch.tensor([0.2, 0.9]))
    assert CODEC.find(value, ASK) == 1


def test_black_and_half_a_relation_are_no_triplet() -> None:
    black = torch.full((3, 32, 32), -1.0)
    assert len(CODEC.decode(black, ASK, (40, 50))) == 0
    black[0, 4:9, 4:9] = 1
    assert len(CODEC.decode(black, ASK, (40, 50))) == 0


@pytest.mark.parametrize("name", ["clean8", *sorted(PairMatrix.tolerance)])
def test_a_matrix_of_pairs_comes_back(name: str, corruptions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    rows = [[8.0 * k, 8.0 * k, 8.0 * k + 20, 8.0 * k + 20] for k in range(6)]
    boxes = Boxes(torch.tensor(rows), torch.zeros(6, dtype=torch.int64), (128, 128), ("man",))
    triplets = torch.tensor([[0, 1, 0], [1, 0, 11], [2, 5, 6], [4, 3, 9]])
    codec = PairMatrix(CodecSettings(predicates=PREDICATES), boxes)
    picture = codec.encode(SceneGraph(boxes, triplets, PREDICATES), ASK, (128, 128))
    found = codec.decode(corruptions[name](picture), ASK, (128, 128))
    assert {tuple(t) for t in found.triplets.tolist()} == {tuple(t) for t in triplets.tolist()}
    with pytest.raises(DataError, match=r"draws 1\.\.8 boxes, not 0"):
        PairMatrix(CodecSettings(), boxes.select(torch.zeros(6, dtype=torch.bool)))


@pytest.mark.parametrize(
    ("codec", "request_", "message"),
    [
        (CODEC, TaskRequest("scene_graph"), "draws one relation"),
        (TripletRegions(), ASK, "needs the predicates"),
        (
            CODEC,
            TaskRequest("scene_graph", relation=("man", "eats", None)),
            "'eats' is not one that a picture can tell",
        ),
    ],
)
def test_requests_that_do_not_fit_are_refused(codec: TripletRegions, request_: TaskRequest, message: str) -> None:
    with pytest.raises(DataError, match=message):
        codec.encode(graph([0, 0, 9, 9], [9, 9, 20, 20], 0), request_, (32, 32))


def test_too_many_predicates_are_refused() -> None:
    with pytest.raises(ConfigError, match="13 predicates do not fit the 12 levels"):
        CodecSettings(predicates=tuple(map(str, range(13))))
