"""The search: places of words, order of readings, and the word where it stops."""

from __future__ import annotations

from visgen.language.grammar import Grammar

CLASSES = ("dog", "cat", "box")


def grammar(text: str) -> Grammar:
    words = text.split()
    return Grammar(words, lambda start: start + 1 if words[start : start + 1] and words[start] in CLASSES else None)


def test_places_by_hand() -> None:
    (draft,) = grammar("please find the dog , but not the cat thanks").read() or []
    assert (draft.task, draft.quantifier, draft.start, draft.end) == ("detection", "all", 1, 9)
    assert draft.phrase is not None
    assert [(item.kind, item.start, item.end) for item in draft.phrase.items] == [("class", 3, 4)]
    assert [(item.kind, item.start, item.end) for item in draft.phrase.exclude] == [("class", 8, 9)]


def test_a_word_may_be_a_verb_here_and_a_class_there() -> None:
    drafts = grammar("box the dog and box the box and the cat").read() or []
    assert [(draft.task, draft.start, draft.end) for draft in drafts] == [("detection", 0, 3), ("detection", 4, 10)]


def test_verbs_and_nouns_share_what_follows() -> None:
    one, two = grammar("segment and count the dog").read() or []
    assert (one.task, two.task, two.quantifier) == ("segmentation", "detection", "count") and one.phrase == two.phrase
    one, two = grammar("the depth and the mask of the dog").read() or []
    assert (one.task, two.task) == ("depth", "segmentation") and one.phrase == two.phrase


def test_the_furthest_word_stops_the_reading() -> None:
    for text, position, expected in (
        ("segment the zebra", 2, "class"),
        ("frobnicate the dog", 0, "word"),
        ("find the dog cat", 3, "word"),
        ("find the dog and", 4, "class"),
        ("what is the dog riding on", 5, "word"),
    ):
        reader = grammar(text)
        assert reader.read() is None and reader.stop.position == position, text
        assert expected in reader.stop.expected, text


def test_tasks_are_noted_where_the_reading_stopped() -> None:
    reader = grammar("how far is the zebra")
    assert reader.read() is None and reader.stop.tasks == {"depth"}
