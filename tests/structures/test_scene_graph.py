"""Scene graphs: names and ranks by hand, box selections that keep triplets, and doors that close."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.structures import Boxes, SceneGraph, value_from_dict
from visgen.structures.scene_graph import mirrored_predicates

CLASSES = ("person", "horse", "hat")
PREDICATES = ("on", "wearing", "left of", "right of")
SIZE = (48, 64)


def make_boxes(count: int = 3, **changes: Any) -> Boxes:
    corners = torch.tensor([[8.0 * i, 4, 8 * i + 10, 30] for i in range(count)]).reshape(-1, 4)
    return Boxes(**{"xyxy": corners, "labels": torch.arange(count) % 3, "size": SIZE, "classes": CLASSES, **changes})


def make(**changes: Any) -> SceneGraph:
    fields: dict[str, Any] = {
        "boxes": make_boxes(),
        "triplets": torch.tensor([[0, 1, 0], [0, 2, 1], [0, 1, 2], [1, 0, 3]]),
        "predicates": PREDICATES,
        "scores": torch.tensor([0.5, 0.75, 0.625, 0.25]),
    }
    return SceneGraph(**{**fields, **changes})


@st.composite
def graphs(draw: Any, scored: bool | None = None) -> SceneGraph:
    """Graphs of 0 to 5 boxes and 0 to 8 triplets."""
    boxes = make_boxes(draw(st.integers(0, 5)))
    pairs = [(s, o) for s in range(len(boxes)) for o in range(len(boxes)) if s != o]
    pick = st.tuples(st.sampled_from(pairs), st.integers(0, 3)) if pairs else st.nothing()
    rows = [[*pair, p] for pair, p in draw(st.lists(pick, max_size=8 if pairs else 0))]
    numbers = st.lists(st.floats(0, 1, width=32), min_size=len(rows), max_size=len(rows))
    scored = draw(st.booleans()) if scored is None else scored
    scores = torch.tensor(draw(numbers), dtype=torch.float32) if scored else None
    return SceneGraph(boxes, torch.tensor(rows, dtype=torch.int64).reshape(-1, 3), PREDICATES, scores)


def test_names_size_and_length() -> None:
    graph = make()
    assert graph.names[:2] == (("person", "on", "horse"), ("person", "wearing", "hat"))
    assert graph.size == SIZE and len(graph) == 4


def test_ranks_by_score_and_ties_by_the_triplet() -> None:
    assert make().ranked().triplets.tolist() == [[0, 2, 1], [0, 1, 2], [0, 1, 0], [1, 0, 3]]
    equal = make(scores=torch.full((4,), 0.5))
    want = [[0, 1, 0], [0, 1, 2], [0, 2, 1], [1, 0, 3]]
    assert equal.ranked().triplets.tolist() == want
    assert equal.select(torch.tensor([3, 1, 2, 0])).ranked().triplets.tolist() == want
    assert make().top(2).scores.tolist() == [0.75, 0.625] and len(make().top(9)) == 4  # type: ignore[union-attr]
    with pytest.raises(DataError, match="this SceneGraph has no scores, so its triplets have no order"):
        make(scores=None).ranked()


def test_the_graph_constraint_keeps_the_best_predicate_of_each_ordered_pair() -> None:
    assert make().constrained().triplets.tolist() == [[0, 2, 1], [0, 1, 2], [1, 0, 3]]


@given(graphs(scored=True))
def test_constrained_agrees_with_a_loop(graph: SceneGraph) -> None:
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for (s, o, p), score in zip(graph.triplets.tolist(), graph.scores.tolist(), strict=True):  # type: ignore[union-attr]
        best[s, o] = min(best.get((s, o), (1.0, 99)), (-score, p))
    want = sorted((score, s, o, p) for (s, o), (score, p) in best.items())
    found = graph.constrained()
    assert found.triplets.tolist() == [[s, o, p] for _, s, o, p in want]
    assert graph.constrained().constrained().triplets.tolist() == found.triplets.tolist()
    for most in (0, 2, 100):
        assert torch.equal(graph.constrained(most).triplets, found.top(most).triplets)
        cut = graph.leading(most)  # loses nothing of either list
        assert torch.equal(cut.top(most).triplets, graph.top(most).triplets) and len(cut) <= 2 * most
        assert torch.equal(cut.constrained(most).triplets, found.top(most).triplets)


def test_a_prediction_from_pairs_multiplies_predicate_and_box_scores() -> None:
    pairs = torch.tensor([[0, 1], [2, 0]])
    probabilities = torch.tensor([[0.5, 0.25, 0.0, 0.125], [0.25, 1.0, 0.0, 0.0]])
    given = SceneGraph.from_pairs(make_boxes(), pairs, probabilities, PREDICATES)
    assert given.triplets[:2].tolist() == [[2, 0, 1], [0, 1, 0]] and len(given) == 8
    assert given.scores.tolist() == [1, 0.5, 0.25, 0.25, 0.125, 0, 0, 0]  # type: ignore[union-attr]
    sure = make_boxes(scores=torch.tensor([0.5, 0.5, 0.125]))
    found = SceneGraph.from_pairs(sure, pairs, probabilities, PREDICATES)
    assert found.triplets[0].tolist() == [0, 1, 0]
    assert found.scores[:2].tolist() == [0.5 * 0.25, 0.0625]  # type: ignore[index]
    few = SceneGraph.from_pairs(sure, pairs, probabilities, PREDICATES, most=3)
    assert few.triplets.tolist() == found.triplets[:3].tolist() and few.scores.tolist() == found.scores[:3].tolist()  # type: ignore[index,union-attr]
    with pytest.raises(DataError, match=r"shape \(2, 5\); 2 pairs and 4 predicates need \(2, 4\): cut the column"):
        SceneGraph.from_pairs(sure, pairs, torch.zeros(2, 5), PREDICATES)
    none = SceneGraph.from_pairs(make_boxes(0), torch.zeros(0, 2).long(), torch.zeros(0, 4), PREDICATES)
    assert len(none) == 0 and none.constrained().triplets.shape == (0, 3)


def test_selecting_boxes_renumbers_and_drops_triplets_that_lost_an_end() -> None:
    kept = make().select_boxes(torch.tensor([2, 0]))
    assert kept.boxes.names == ("hat", "person")
    assert kept.triplets.tolist() == [[1, 0, 1]] and kept.scores.tolist() == [0.75]  # type: ignore[union-attr]
    same = make().select_boxes(torch.tensor([True, False, True]))
    assert same.triplets.tolist() == [[0, 1, 1]]


@given(graphs(), st.randoms(use_true_random=False))
def test_a_permutation_of_the_boxes_changes_no_name(graph: SceneGraph, random: Any) -> None:
    order = list(range(len(graph.boxes)))
    random.shuffle(order)
    moved = graph.select_boxes(torch.tensor(order, dtype=torch.int64))
    assert moved.names == graph.names
    ends = graph.boxes.xyxy[graph.triplets[:, :2]]
    assert torch.equal(moved.boxes.xyxy[moved.triplets[:, :2]], ends)


def test_where_select_clip_and_to() -> None:
    graph = make()
    assert graph.where(subject="person", object="horse").names == (
        ("person", "on", "horse"),
        ("person", "left of", "horse"),
    )
    assert len(graph.where(predicate="right of")) == 1 and len(graph.where()) == 4
    with pytest.raises(DataError, match="class 'dog' is not one of the 3 classes"):
        graph.where(object="dog")
    with pytest.raises(DataError, match="predicate 'left off' is not one of the 4 .*; did you mean 'left of'"):
        graph.where(predicate="left off")
    wide = make(boxes=make_boxes(xyxy=torch.tensor([[-5.0, 0, 9, 9], [0, 0, 99, 9], [1, 1, 2, 2]]))).clip()
    assert wide.boxes.xyxy[:2].tolist() == [[0, 0, 9, 9], [0, 0, 64, 9]] and len(wide) == 4
    assert torch.equal(graph.to("cpu").triplets, graph.triplets)


def test_a_mirror_exchanges_left_and_right() -> None:
    assert make().mirrored().triplets[:, 2].tolist() == [0, 1, 3, 2]
    assert torch.equal(make().mirrored().mirrored().triplets, make().triplets)
    assert mirrored_predicates(("on the left of", "lefty", "on the right of")) == (2, 1, 0)
    for pair in (
        "left_of right_of",
        "LEFT RIGHT",
        "to-Left to-Right",
        "leftOf rightOf",
        "isToLeftOf isToRightOf",
        "a4left1 a4right1",
    ):
        assert mirrored_predicates((*pair.split(), "leftover", "bright", "upRightly")) == (1, 0, 2, 3, 4)
    with pytest.raises(DataError, match="predicate 'Left_of' names a side, but 'Right_of' is not one"):
        mirrored_predicates(("Left_of", "right_of"))
    with pytest.raises(DataError, match="predicate 'left of' names a side, but 'right of' is not one of the 1"):
        make(predicates=("left of",), triplets=torch.zeros(0, 3).long(), scores=None).mirrored()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": torch.zeros(3, 4)}, "boxes of SceneGraph is a Tensor; it must be Boxes"),
        ({"predicates": ["on"]}, "predicates of SceneGraph is a list; it must be a tuple of names"),
        ({"predicates": ("on", 4)}, "predicates of SceneGraph holds 4; every predicate must be a string"),
        ({"triplets": torch.zeros(4, 2).long()}, r"triplets of SceneGraph has shape \(4, 2\); it must be \(m, 3\)"),
        ({"triplets": torch.zeros(4, 3)}, "triplets of SceneGraph has dtype torch.float32; it must be torch.int64"),
        ({"scores": torch.ones(3)}, r"scores of SceneGraph has shape \(3,\); it must be \(4\)"),
        ({"scores": torch.tensor([0.1, 2.0, 0, 0])}, r"score of SceneGraph is 2, outside \[0, 1\]"),
        ({"triplets": torch.tensor([[0, 3, 0]]), "scores": None}, r"triplet 0 is \[0, 3, 0\].* 3 boxes; a box index"),
        ({"triplets": torch.tensor([[-1, 1, 0]]), "scores": None}, r"a box index must be 0\.\.2"),
        ({"triplets": torch.tensor([[0, 1, 4]]), "scores": None}, r"4 predicates; a predicate id must be 0\.\.3"),
        ({"triplets": torch.tensor([[0, 1, 0], [2, 2, 1]]), "scores": None}, "triplet 1 .* relates box 2 to itself"),
    ],
)
def test_the_door(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_a_graph_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        make().scores = None  # type: ignore[misc]


@given(graphs())
def test_json_restores_every_bit(graph: SceneGraph) -> None:
    back = value_from_dict(json.loads(json.dumps(graph.to_dict(), allow_nan=False)))
    assert torch.equal(back.triplets, graph.triplets) and back.triplets.shape == (len(graph), 3)
    assert torch.equal(back.boxes.xyxy, graph.boxes.xyxy) and back.predicates == PREDICATES
    assert (back.scores is None) == (graph.scores is None)
    assert graph.scores is None or torch.equal(back.scores, graph.scores)


def test_the_dictionary_names_its_predicates() -> None:
    data = make().to_dict()
    assert data["triplets"][0] == {"subject": 0, "predicate": "on", "object": 1, "predicate_id": 0, "score": 0.5}
    assert data["boxes"]["type"] == "boxes"
    with pytest.raises(DataError, match="the dictionary of SceneGraph lacks 'triplets'; it holds type"):
        SceneGraph.from_dict({"type": "scene_graph"})


def test_no_boxes_and_no_triplets() -> None:
    none = SceneGraph(make_boxes(0), torch.zeros(0, 3, dtype=torch.int64), ())
    back = SceneGraph.from_dict(none.to_dict())
    assert back.triplets.shape == (0, 3) and back.triplets.dtype == torch.int64 and back.names == ()
    assert len(none.select_boxes(torch.zeros(0, dtype=torch.int64))) == 0
    assert none.draw(None).width > 0
