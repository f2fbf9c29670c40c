"""Phrasings outside all frames: one meaning must remain, and every word must have its place."""

from __future__ import annotations

import pytest

from visgen.language.cues import read_cues
from visgen.language.frames import SET
from visgen.language.lexicon import phrases
from visgen.language.wide_lexicon import CUES, GLUE

CLASSES = ("dog", "cat", "couch")


def read(text: str) -> tuple[str, str, list[str], list[str]] | None:
    words = text.split()
    drafts = read_cues(words, lambda start: start + 1 if words[start : start + 1] and words[start] in CLASSES else None)
    if drafts is None:
        return None
    (draft,) = drafts
    assert draft.phrase is not None and (draft.start, draft.end) == (0, len(words))
    name = lambda items: [" ".join(words[item.start : item.end]) for item in items]  # noqa: E731
    return draft.task, draft.quantifier, name(draft.phrase.items), name(draft.phrase.exclude)


def test_readings_by_hand() -> None:
    assert read("get me a stencil of the dog and the cat") == ("segmentation", "all", ["dog", "cat"], [])
    assert read("the headcount of dog , now") == ("detection", "count", ["dog"], [])
    assert read("how many metres to the couch") == ("depth", "all", ["couch"], [])
    assert read("turn the dog photo into a depth picture") == ("depth", "all", [], [])
    assert read("pick one , dog , cat or couch") == ("classification", "all", ["dog", "cat", "couch"], [])
    assert read("please get a cutout of everything but the couch") == ("segmentation", "all", ["everything"], ["couch"])
    assert read("is something wrong with the dog") == ("ood", "all", ["dog"], [])


@pytest.mark.parametrize(
    "text",
    [
        "get the mask of the dog on the couch",  # a place
        "get the mask of the thing on the couch",  # "thing" is what is meant
        "get the mask and the distance of the dog",  # two tasks
        "never get the mask of the dog",  # a negation
        "get the mask of two dog",  # a number
        "get the mask of the zebra",  # an unknown noun
        "get me the dog",  # no cue
        "get the mask of the dog from the cat",  # a second thing
        "get me a mask",  # of what?
        "the dog or",  # no choice
        "",
    ],
)
def test_what_is_not_plain_is_refused(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "find the box on the couch",
        "is there a box on the couch",
        "where is the box on the couch",
        "give me the box on the couch",
        "find the tag on the dog",
        "find the frame of the couch",
        "find the corner of the couch",
        "select the sticker of the couch",
        "leave the dog out of the mask",
        "drop the dog and the cat from the mask",
        "keep dog off the mask",
        "keep dog away from the mask",
        "drop the dog from the count",
        "leave dog out when you count",
        "leave away the dog when you mask",
        "does exactly one dog appear",
        "does only one dog appear",
        "is a single dog present",
        "show me one of the dog outlined",
        "how many feet does the dog have",
        "what number does the dog have",
        "what features does the dog have",
        "how much space does the dog take up",
        "what shape is the couch",
        "where is the dog going",
        "where is the dog looking",
        "where should i place the couch",
        "where was the couch made",
        "when did the dog appear",
        "tell me when the dog appears",
        "what is the dog looking for",
        "how many see the dog",
        "count me out of the dog",
        "is there a dog , if so , how far is it",
        "outline the right dog",
        "how many full dog are there",
        "does the dog appear happy",
        "does the picture only contain dog",
        "count the dog that walk",
        "how many dog stand here",
        "how many dog do i need",
        "how far does the dog go",
        "segment the area around the dog",
        "segment the edges of the couch",
        "which part of the dog is in view",
        "where are the dog from",
        "where can i get a dog",
        "what kind of dog is present",
        "what does the dog detect",
        "is the dog hiding",
    ],
)
def test_words_with_another_meaning_together_are_refused(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "put a box on the dog",
        "lay a frame over the dog",
        "find a frame around the dog",
        "give me the corners of the dog",
        "find the location of the dog",
        "i am looking for the dog",
        "looking for my dog",
        "where should i look for the dog",
        "when you have a moment , get me the location of the dog",
        "where is the dog hiding",
        "detect the dog that you see",
    ],
)
def test_what_only_resembles_them_is_read(text: str) -> None:
    assert read(text) == ("detection", "all", ["dog"], [])


def test_a_verb_in_a_clause_of_its_own_is_a_request_of_its_own() -> None:
    assert read("find the outline of the dog and the cat") == ("segmentation", "all", ["dog", "cat"], [])
    assert read("find the dog and the cat , outline what they are") is None
    assert read("get me the number of dog and find it") is None
    assert read("how far can it be , find the dog") is None
    assert read("every single dog outlined") == ("segmentation", "all", ["dog"], [])
    assert read("a clean dog mask") == ("segmentation", "all", ["dog"], [])
    assert read("how many dog live here") == ("detection", "count", ["dog"], [])
    assert read("how near the dog has come") == ("depth", "all", ["dog"], [])


def test_glue_holds_nothing_with_a_meaning_of_its_own() -> None:
    glue = {phrase for phrase in phrases(GLUE) if len(phrase) == 1}
    meaning = {*phrases("on in under behind between beside near next over below above with without not no never none"),
               *phrases("thing things object objects left right_of one_of two three second nearest bigger than"),
               *SET["REMOVE"], *(p for text in CUES.values() for p in phrases(text))}  # fmt: skip
    assert not glue & meaning
