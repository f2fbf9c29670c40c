"""Plurals, synonyms and the longest match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visgen.language import read_instruction
from visgen.language.lexicon import PLURALS, SYNONYMS, phrases
from visgen.language.names import ClassNames, class_names, closest, own_class, plural, singular

NAMES = ClassNames(
    {"detection": ["dog", "hot dog", "bus", "stop_sign", "Faces", "skis", "glass"], "segmentation": ["person", "dog"]}
)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"), ("bus", "buses"), ("box", "boxes"), ("bench", "benches"), ("toothbrush", "toothbrushes"),
        ("butterfly", "butterflies"), ("donkey", "donkeys"), ("knife", "knives"), ("person", "people"),
        ("mouse", "mice"), ("sheep", "sheep"), ("horse", "horses"), ("vase", "vases"), ("glass", "glasses"),
        ("giraffe", "giraffes"), ("tie", "ties"), ("bicyclist", "bicyclists"),
    ],
)  # fmt: skip
def test_plurals_by_hand(one: str, many: str) -> None:
    assert plural(one)[0] == many
    if many != "glasses":  # eyewear: the singular is another thing
        assert singular(many) == one or one == "tie"


def test_words_in_s_that_are_no_plurals_stay() -> None:
    for word in ("bus", "glass", "tennis", "cactus", "grass", "scissors"[:-1], "glasses", "gas"):
        assert singular(word) == word


@given(st.sampled_from(sorted(PLURALS)))
def test_every_irregular_plural_leads_back(word: str) -> None:
    assert {singular(many) for many in plural(word)} == {word}


@pytest.mark.parametrize(
    ("words", "task", "name"),
    [
        ("dogs", "detection", "dog"),
        ("hot dogs", "detection", "hot dog"),
        ("hotdog", "detection", "hot dog"),
        ("hot-dog", "detection", "hot dog"),
        ("stop signs", "detection", "stop_sign"),
        ("face", "detection", "Faces"),
        ("ski", "detection", "skis"),
        ("glasses", "detection", "glass"),
        ("people", "segmentation", "person"),
        ("humans", "segmentation", "person"),
        ("people", "detection", None),
        ("do", "detection", None),
        ("dogg", "detection", None),
    ],
)
def test_find_by_hand(words: str, task: str, name: str | None) -> None:
    assert NAMES.find(task, words.split()) == name


def test_the_longest_name_wins_and_ends_with_a_word() -> None:
    words = ["the", "hot", "dogs", "and", "hot-dog-stand"]
    assert [NAMES.match(words, start) for start in range(len(words))] == [None, 3, 3, None, None]
    assert NAMES.match([","], 0) is None and NAMES.match(["dog", ","], 0) == 1


def test_a_synonym_never_takes_the_place_of_a_class() -> None:
    both = ClassNames({"detection": ["dining table", "table", "street", "road"]})
    assert both.find("detection", ["table"]) == "table" and both.find("detection", ["street"]) == "street"
    assert ClassNames({"detection": ["dining table"]}).find("detection", ["tables"]) == "dining table"
    assert ClassNames({"detection": ["table"]}).find("detection", ["dining", "table"]) == "table"


@given(st.sampled_from(SYNONYMS), st.data())
def test_all_synonyms_of_a_line_mean_the_one_that_the_model_knows(line: str, data: st.DataObject) -> None:
    known, asked = (" ".join(data.draw(st.sampled_from(phrases(line)))) for _ in range(2))
    assert ClassNames({"detection": [known]}).find("detection", asked.split()) == known


def test_synonyms_name_one_thing_only() -> None:
    words = [phrase for line in SYNONYMS for phrase in phrases(line)]
    assert len(set(words)) == len(words)


def test_names_without_letters_are_passed_over() -> None:
    assert ClassNames({"detection": ["", "--", "dog"]}).find("detection", ["dog"]) == "dog"
    assert ClassNames({}).match(["dog"], 0) is None


def test_suggestions_by_hand() -> None:
    assert NAMES.suggest(["dgo", "and"]) == "; did you mean 'dog'?"
    assert NAMES.suggest(["stp", "signs"]) == "; did you mean 'stop signs'?"
    assert NAMES.suggest(["woman"]) == "; did you mean 'person'?"
    assert NAMES.suggest(["woman"], "detection") == NAMES.suggest(["elephant"]) == ""
    assert NAMES.tasks_that_know(["dogs"]) == ["detection", "segmentation"]


def test_a_misspelling_is_one_letter_or_two_in_long_words() -> None:
    assert [closest(word, ["house"]) for word in ("hous", "houuse", "hoose", "huose", "hose", "hoes")] == [
        *("house", "house", "house", "house", "house", None)
    ]
    assert closest("elehpannt", ["elephant"]) == "elephant" and closest("at", ["cat"]) is None
    assert closest("house", ["house"]) is None  # spelt right: nothing to correct


def test_a_vocabulary_is_read_once() -> None:
    vocabulary = (("detection", ("dog",)),)
    assert class_names(vocabulary) is class_names(vocabulary)


def test_a_class_of_one_label_set_is_found_in_another() -> None:
    classes = ("Faces", "stop_sign", "couch")
    assert [own_class(n, classes) for n in ("couch", "sofa", "stop sign", "face", "dog", "")] == [
        *("couch", "couch", "stop_sign", "Faces", None, None)
    ]
    assert own_class("sofa", ("couch", "sofa")) == "sofa"


def test_a_name_with_a_sign_for_and_is_asked_as_it_is_written():
    vocabulary = {"segmentation": ("sky & air", "road", "cars+buses")}
    for text in ("segment the sky & air and the road", "segment the sky and air and the road"):
        assert [r.classes for r in read_instruction(text, vocabulary)] == [("sky & air", "road")]
    assert read_instruction("segment cars + buses", vocabulary)[0].classes == ("cars+buses",)
