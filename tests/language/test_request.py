"""The typed request, its dictionary and its plain words."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from visgen.errors import DataError, UnknownName
from visgen.language import QUANTIFIERS, TASKS, TaskRequest, explain

ROAD = TaskRequest("segmentation", ("road",), ("car",), raw="segment the road without the cars")
TABLE = TaskRequest("scene_graph", relation=(None, "on", "dining table"), raw="what is on the table?")


PAINT = TaskRequest("segmentation", ("orange",), attributes=(("orange", "ripe"),), colours=(("orange", "blue"),))
OPEN = TaskRequest("detection", ("gargoyle",), open_vocabulary=True)


@pytest.mark.parametrize("request_", [ROAD, TABLE, TaskRequest("detection", quantifier="count"), PAINT, OPEN])
def test_the_dictionary_restores_the_request(request_: TaskRequest) -> None:
    assert TaskRequest.from_dict(json.loads(json.dumps(request_.to_dict()))) == request_


def test_dictionary_by_hand() -> None:
    assert TABLE.to_dict() == {
        "task": "scene_graph",
        "classes": [],
        "exclude": [],
        "relation": [None, "on", "dining table"],
        "quantifier": "all",
        "raw": "what is on the table?",
    }


def test_what_only_a_reader_of_words_can_answer() -> None:
    assert PAINT.needs_language and OPEN.needs_language and not ROAD.needs_language
    assert PAINT.to_dict()["colours"] == [["orange", "blue"]] and OPEN.to_dict()["open_vocabulary"] is True
    assert explain([PAINT]) == "1. segmentation: ripe orange, painted orange blue"


def test_explain_by_hand() -> None:
    counted = TaskRequest("detection", ("car", "bus"), quantifier="count")
    one = TaskRequest("detection", ("dog",), quantifier="one")
    assert explain([ROAD, TABLE, counted, one, TaskRequest("depth")]).splitlines() == [
        "1. segmentation: road, without car",
        "2. scene_graph: ? on dining table",
        "3. detection: how many of car and bus",
        "4. detection: one instance of dog",
        "5. depth: everything",
    ]
    assert explain([]) == ""


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"task": "detecton"}, UnknownName, "task 'detecton' is not known; did you mean 'detection'"),
        ({"quantifier": "some"}, UnknownName, "quantifier 'some' is not known.* Known: all, one, count"),
        ({"classes": ["dog"]}, DataError, r"classes of TaskRequest is \['dog'\]; it must be a tuple"),
        ({"exclude": (1,)}, DataError, r"exclude of TaskRequest is \(1,\)"),
        ({"colours": (("dog",),)}, DataError, r"colours of TaskRequest is \(\('dog',\),\); .* \(class, word\) pairs"),
        ({"attributes": [("dog", "red")]}, DataError, "attributes of TaskRequest"),
        ({"open_vocabulary": 1}, DataError, "open_vocabulary of TaskRequest is 1; it must be True or False"),
        ({"raw": None}, DataError, "raw of TaskRequest is None"),
        ({"relation": ("a", "b")}, DataError, r"relation of TaskRequest is \('a', 'b'\); it must be \(subject"),
        ({"relation": ("a", "on", None)}, DataError, "but its task is 'depth'; use 'scene_graph'"),
    ],
)
def test_a_broken_request_is_refused(fields: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        TaskRequest(**{"task": "depth", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"not from \[\]; pass what to_dict gave"),
        ({"task": "depth"}, "has no 'classes'"),
        ({**ROAD.to_dict(), "colour": "red"}, "a TaskRequest has no 'colour'"),
        ({**ROAD.to_dict(), "classes": "road"}, "classes of TaskRequest is 'road'"),
    ],
)
def test_a_broken_dictionary_is_refused(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TaskRequest.from_dict(data)  # type: ignore[arg-type]


def test_the_tasks_are_those_of_results() -> None:
    source = Path(__file__).parents[2] / "visgen" / "structures" / "result.py"  # read, not imported: it loads torch
    (tasks,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "TASKS"
    ]
    assert tasks == (*TASKS, "retrieval")  # a vector is no answer that a sentence asks for
    assert QUANTIFIERS[0] == TaskRequest("depth").quantifier


def test_a_plan_tells_every_word_that_narrows_a_class() -> None:
    pairs = (("car", "small"), ("car", "red"))
    assert (
        explain([TaskRequest("detection", ("car", "dog"), attributes=pairs)]) == "1. detection: small red car and dog"
    )
