"""Sentences and lists of sentences or class names lead to the same requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from visgen.errors import ConfigError, UnknownName
from visgen.language import OpenWorld, TaskRequest, parse, read_instruction

VOCABULARY = {
    "detection": ("car", "person", "traffic light", "box"),
    "segmentation": ("car", "road", "box"),
    "depth": (),
}


def bare(requests: list[TaskRequest]) -> list[TaskRequest]:
    """The requests without the text that they came from."""
    return [replace(request, raw="") for request in requests]


def test_a_text_is_parsed() -> None:
    text = "find the cars and tell me how far they are"
    assert read_instruction(text, VOCABULARY) == parse(text, VOCABULARY)


@pytest.mark.parametrize(
    "names",
    [
        ["car", "person"],
        ["cars", "people"],
        ["The cars.", "all the PEOPLE!"],
        ("car", "person", "car"),
        ["car", "humans"],
    ],
)
def test_class_names_in_any_case_and_number_are_one_request(names: Any) -> None:
    assert bare(read_instruction(names, VOCABULARY)) == bare(parse("find all the cars and the people", VOCABULARY))


def test_names_are_asked_of_the_tasks_named() -> None:
    both = read_instruction(["car", "road"], VOCABULARY, tasks=("segmentation", "detection"))
    assert [(r.task, r.classes) for r in both] == [("segmentation", ("car", "road")), ("detection", ("car",))]
    assert read_instruction(["car"], VOCABULARY, tasks=["depth"])[0].task == "depth"
    no_boxes = {"segmentation": ("car",), "depth": ()}
    assert read_instruction(["car"], no_boxes)[0].task == "segmentation"
    assert [r.raw for r in read_instruction(["cars", "box"], VOCABULARY)] == ["cars; box"]


def test_names_that_another_model_alone_knows_are_read_as_in_a_sentence() -> None:
    for world, names in ((OpenWorld(("zebra",)), ["The zebras", "car"]), (OpenWorld(any_noun=True), ["zeppelins"])):
        sentence = parse(f"find {' and '.join(names)}", VOCABULARY, None, world)
        assert bare(read_instruction(names, VOCABULARY, world=world)) == bare(sentence)
        assert sentence[0].open_vocabulary
    with pytest.raises(UnknownName, match="'zebras' names no task"):
        read_instruction(["zebras"], VOCABULARY)


def test_a_class_of_any_name_can_be_asked_for_by_it() -> None:
    odd = {"detection": ("my.class", "a/b", "the cup", "İstanbul", "count"), "depth": ()}
    for name in odd["detection"]:
        assert bare(read_instruction([name.upper() if name.isascii() else name], odd)) == [
            TaskRequest("detection", (name,))
        ]
    assert read_instruction(["a/b", "the cup"], odd)[0].classes == ("a/b", "the cup")


def test_sentences_of_a_list_stand_on_their_own() -> None:
    found = read_instruction(["segment the road", "find the car", "people", "segment the road"], VOCABULARY)
    assert [(r.task, r.classes) for r in found] == [
        ("detection", ("person",)),
        ("segmentation", ("road",)),
        ("detection", ("car",)),
    ]
    with pytest.raises(UnknownName, match="item 1 of the instruction: 'they' has nothing to stand for"):
        read_instruction(["find the car", "how far are they?"], VOCABULARY)
    with pytest.raises(UnknownName, match="item 1 of the instruction: 'car' names no task"):
        read_instruction(["segment the road", "car and person"], VOCABULARY)  # never glued to the item before


def test_a_class_wins_over_the_verb_of_the_same_name() -> None:
    assert read_instruction(["box"], VOCABULARY)[0].classes == ("box",)


@pytest.mark.parametrize(
    ("instruction", "error", "message"),
    [
        (["road"], UnknownName, "item 0 .* class 'road' is not known to detection. segmentation can be asked for it"),
        (["car", "unicorn"], UnknownName, "item 1 of the instruction: 'unicorn' names no task"),
        (["cra"], UnknownName, "'cra' names no task.* As a class name it is not known; did you mean 'car'"),
        ([""], UnknownName, "item 0 of the instruction: the instruction is empty"),
        ([], ConfigError, r"is a list of 0 items; it must have 1\.\.256"),
        (["car"] * 257, ConfigError, "is a list of 257 items"),
        (3, ConfigError, "the instruction is 3; it must be a text, or a list"),
        (["car", None], ConfigError, "it must be a text, or a list of sentences or class names"),
        ({"car"}, ConfigError, "it must be a text, or a list"),
    ],
)
def test_what_is_no_instruction_is_refused(instruction: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_instruction(instruction, VOCABULARY)
