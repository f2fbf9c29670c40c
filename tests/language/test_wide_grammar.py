"""Colours, attributes and open nouns: what a model that reads words itself may be asked, and what stays refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.errors import UnknownName
from visgen.language import OpenWorld, TaskRequest, parse
from visgen.language.names import class_names
from visgen.language.wide_lexicon import ATTRIBUTES, COLOURS
from visgen.language.world import RESERVED, open_noun_end

FULL = json.loads((Path(__file__).parent / "sentences.json").read_text(encoding="utf-8"))["vocabularies"]["full"]
TAUGHT = OpenWorld(classes=("snowman", "traffic cone"), predicates=("on", "holding"))
ANY = OpenWorld(any_noun=True)
INK = [colour for colour in COLOURS if colour != "black"]
WORDS = sorted({*RESERVED, "dog", "cats", "gargoyle", "windmills", "red", "zebra", ",", "."})


def bare(text: str, world: OpenWorld = ANY) -> list[TaskRequest]:
    return [replace(request, raw="") for request in parse(text, FULL, None, world)]


@given(
    st.lists(st.sampled_from(FULL["segmentation"]), min_size=1, max_size=4, unique=True),
    st.permutations(INK),
    st.data(),
)
def test_every_class_gets_its_colour(names: list[str], colours: list[str], data: st.DataObject) -> None:
    verb = data.draw(
        st.sampled_from(("paint the {} {}", "colour all the {} {}", "mask the {} in {}", "fill {} with {}"))
    )
    first, *rest = [verb.format(name, colour) for name, colour in zip(names, colours, strict=False)]
    joint = data.draw(st.sampled_from((" and ", ", ", " and then ")))
    requests = bare(joint.join([first, *rest]))
    pairs = [pair for request in requests for pair in request.colours]
    assert pairs == list(zip(names, colours, strict=False)) and all(request.needs_language for request in requests)


@given(st.sampled_from(FULL["detection"]), st.sampled_from(sorted(ATTRIBUTES)))
def test_an_attribute_stays_with_its_class(name: str, word: str) -> None:
    assert bare(f"find the {word} {name}") == [TaskRequest("detection", (name,), attributes=((name, word),))]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS), max_size=12), st.sampled_from((TAUGHT, ANY)))
def test_random_words_raise_nothing_but_unknown_name(words: list[str], world: OpenWorld) -> None:
    try:
        requests = parse(" ".join(words), FULL, ["on"], world)
    except UnknownName as error:
        assert str(error).endswith(".")
    else:
        assert requests and not any(set(request.classes) & set(request.exclude) for request in requests)


def test_one_noun_in_two_ways_is_two_requests_where_the_verb_is_said_again() -> None:
    once = [request for ask in ("paint the red dog blue", "paint the big dog blue") for request in bare(ask)]
    assert bare("paint the red dog blue. paint the big dog blue") == once
    assert bare("paint the red dog blue and paint the big dogs blue") == once
    with pytest.raises(UnknownName, match="gives one class two colours"):
        parse("paint the red dog blue. paint the red dog green", FULL, None, ANY)
    assert len(bare("paint the red dog blue. paint the cat green")) == 1


def test_a_box_in_the_picture_is_no_box_to_draw() -> None:
    known = {"detection": ["suitcase"]}
    assert parse("give me the boxes of the suitcases", known, None, TAUGHT)[0].classes == ("suitcase",)
    for text in ("find the box of the suitcase", "find the box on the suitcase", "what is the box on the suitcase"):
        with pytest.raises(UnknownName):
            parse(text, known, None, TAUGHT)


def test_what_heads_know_needs_no_other_model() -> None:
    for text in ("find the dog", "segment everything except the sky", "is the man on the horse?", "how far is the car"):
        assert bare(text) == [replace(request, raw="") for request in parse(text, FULL)]
        assert not any(request.needs_language for request in bare(text))


def test_taught_and_any_classes() -> None:
    assert bare("find the traffic cones", TAUGHT) == [TaskRequest("detection", ("traffic cone",), open_vocabulary=True)]
    assert bare("find the windmills") == [TaskRequest("detection", ("windmill",), open_vocabulary=True)]
    with pytest.raises(UnknownName, match="'windmills' in 'find the windmills' is no class"):
        parse("find the windmills", FULL, None, TAUGHT)
    with pytest.raises(UnknownName, match="class 'hrose' is not known; did you mean 'horse'"):
        parse("find the hrose", FULL, None, ANY)


def test_a_task_that_no_head_has_goes_to_the_other_model() -> None:
    (request,) = parse("segment the dog", {"depth": []}, None, OpenWorld(classes=("dog",)))
    assert request.task == "segmentation" and request.open_vocabulary


def test_relations_of_the_other_model() -> None:
    (known,) = parse("what is on the cup?", FULL, ["on"], TAUGHT)
    (taught,) = parse("who is holding the cup?", FULL, ["on"], TAUGHT)
    assert not known.open_vocabulary and taught.open_vocabulary and taught.relation == (None, "holding", "cup")
    with pytest.raises(UnknownName, match="relation 'riding' .* is not known"):
        parse("who is riding the horse?", FULL, ["on"], TAUGHT)


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("windmill", 1),
        ("fire hydrant", 2),
        ("windmill dog", 1),  # stops before a known class
        ("windmill red", 1),
        ("windmill quickly", None),
        ("beautiful", None),
        ("it", None),
        ("gargoyle sleeping", None),
        ("a b", None),
        ("42", None),
        ("", None),
    ],
)
def test_where_an_unknown_noun_ends(words: str, end: int | None) -> None:
    assert open_noun_end(words.split(), 0, class_names((("detection", ("dog",)),))) == end


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paint the dog red and the dog blue", "gives one class two colours"),
        ("paint the dog red and the cat red", "dog and cat are both red .* use two colours"),
        ("paint everything red", "paints everything; name the classes, each with its colour"),
        ("paint the dog puce", "'puce' in 'paint the dog puce' is no colour. A picture keeps red, green"),
        ("turn each sign yellow", "'sign' in 'turn each sign' is no class"),
        ("paint the dog pink", "colour 'pink' in 'paint the dog pink' cannot be drawn; use one of red, green"),
        ("is there a cat? if so show pink, otherwise red", "colour 'pink' .* cannot be drawn"),
        ("find the red dog and the dog", r"asks for 'dog' in two ways \(red and any\); ask in two sentences"),
        ("find the dog and windmill", "windmill"),  # an article here and none there: it may be a verb
    ],
)
def test_messages(text: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        parse(text, FULL, None, ANY)


def test_without_such_a_model_the_error_points_to_it() -> None:
    with pytest.raises(UnknownName, match=r"A model that reads instructions itself \(path 'diffusion' or 'auto'\)"):
        parse("paint the dog red", FULL)
    with pytest.raises(UnknownName) as error:
        parse("frobnicate the dog", FULL)
    assert "reads instructions" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "segment the dog on the couch",  # a mask is asked for, and the graph has none
        "mask the chairs that are far away",
        "which animal is on the couch?",
        "find one dog on the couch",
        "is nobody on the couch?",
        "find the small dog on the couch",
        "what is on the red couch?",
        "how are the red car and the dog related",
        "find another dog",
        "paint the dog red, if there is a cat",
    ],
)
def test_what_the_answer_would_leave_out_is_refused(text: str) -> None:
    with pytest.raises(UnknownName):
        bare(text)
