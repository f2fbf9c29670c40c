"""Frames read from the lexicon."""

from __future__ import annotations

import pytest

from visgen.language.frames import PREDICATE_FORMS, SET, SLOTS, compile_frame, own_predicate
from visgen.language.lexicon import FRAMES, NOUNS, TRANSITIVE, VERBS
from visgen.language.request import QUANTIFIERS, TASKS

ALL = [frame for _, _, frames in FRAMES for frame in frames]


def test_a_frame_by_hand() -> None:
    first, second, third = compile_frame("where|how_far BE? NP")
    assert (first.slot, first.choices, first.is_optional) == ("", (("how", "far"), ("where",)), False)
    assert (second.choices, second.is_optional) == ((("is",), ("are",)), True)
    assert (third.slot, third.choices, third.is_optional) == ("NP", (), False)


@pytest.mark.parametrize("frame", ALL)
def test_capitals_name_sets_and_slots(frame: str) -> None:
    names = {option for entry in frame.split() for option in entry.removesuffix("?").split("|") if option.isupper()}
    assert names <= {*SET, *SLOTS}
    assert any(not element.is_optional for element in compile_frame(frame))


def test_no_frame_stands_twice_and_all_tasks_have_words() -> None:
    assert len(set(ALL)) == len(ALL)
    rows = [*FRAMES, *VERBS]
    assert {row[0] for row in [*rows, *NOUNS]} == set(TASKS) and {row[1] for row in rows} <= set(QUANTIFIERS)


def test_predicates_by_hand() -> None:
    assert PREDICATE_FORMS["PRED"][("on", "top", "of")] == "on" and PREDICATE_FORMS["PRED"][("riding",)] == "riding"
    assert PREDICATE_FORMS["PRED_S"][("carries",)] == PREDICATE_FORMS["PRED_BASE"][("carry",)] == "carrying"
    assert all(len(forms) == 3 for forms in TRANSITIVE)


def test_a_predicate_of_the_lexicon_is_found_in_the_form_of_the_model() -> None:
    model = ("on", "overlaps", "contain", "inside", "left_of", "wearing", "upon")
    asked = ("on", "overlapping", "containing", "in", "left of", "wearing", "riding", "under")
    found = [own_predicate(name, model) for name in asked]
    assert found == ["on", "overlaps", "contain", "inside", "left_of", "wearing", None, None]
