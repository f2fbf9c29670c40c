"""Hand-written instructions for a model that reads words itself: each gives its plan, or is refused for its word.

They were committed before the parser read any of it. The fifty of the group "unseen" stand for phrasings that nobody
foresaw: their nouns are in no table, their frames in no frame, phrase or example. They are scored apart: a refusal is
no error of the parser, yet it does not count as right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visgen.errors import UnknownName
from visgen.language import OpenWorld, TaskRequest, parse
from visgen.language.lexicon import EXAMPLES, FRAMES, NOUNS, PLURALS, RELATED, SETS, SYNONYMS, VERBS, phrases
from visgen.language.phrase_table import FRAMES as PHRASES
from visgen.language.phrase_table import HELD_OUT, PAIR_FRAMES, PAIR_HELD_OUT
from visgen.language.wide_lexicon import CUES, GLUE, WIDE_FRAMES

FILE = json.loads((Path(__file__).parent / "instruct_sentences.json").read_text(encoding="utf-8"))
SENTENCES: list[dict[str, Any]] = FILE["sentences"]
LATER = {"after the parser": 33, "after the growth": 22, "after the second growth": 13}
"""Groups written when the parser stood, by one who knew its ways but aimed past its tables, and how many it must read
right. At first contact it read 14 of 40, after the tables grew 16 of another 30, and after they grew again 11 of
another 24; it refused the rest and misread none. Of the 27 that it must refuse it took one at first contact
("segment whoever is near the fountain", as a question to the scene graph).
So of phrasings that nobody foresaw it understands about half.
Each group then helped to fill gaps, so the numbers here are no measure of that."""
FORESEEN = [entry for entry in SENTENCES if entry["group"] not in ("unseen", *LATER)]
UNSEEN = [entry for entry in SENTENCES if entry["group"] == "unseen"]
LEAST_RIGHT = 0.8


def read(entry: dict[str, Any]) -> list[TaskRequest]:
    spec = FILE["worlds"][entry["world"]]
    fields = spec["world"]
    world = (
        None if fields is None else OpenWorld(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    )
    return parse(entry["text"], spec["vocabulary"], None, world)


def expected(entry: dict[str, Any]) -> list[TaskRequest]:
    left_out = {"classes": [], "exclude": [], "relation": None, "quantifier": "all", "raw": entry["text"]}
    return [TaskRequest.from_dict({**left_out, **plan}) for plan in entry["plan"]]


def test_there_are_enough_sentences_and_none_twice() -> None:
    assert len(SENTENCES) >= 150 and len(UNSEEN) == 50
    assert len({(entry["text"], entry["world"]) for entry in SENTENCES}) == len(SENTENCES)
    assert {request["task"] for entry in UNSEEN for request in entry["plan"]} == set(EXAMPLES)


@pytest.mark.parametrize("entry", [e for e in FORESEEN if "plan" in e], ids=lambda e: f"{e['world']}: {e['text']}")
def test_plan(entry: dict[str, Any]) -> None:
    assert read(entry) == expected(entry)


@pytest.mark.parametrize("entry", [e for e in FORESEEN if "refuse" in e], ids=lambda e: f"{e['world']}: {e['text']}")
def test_refusal(entry: dict[str, Any]) -> None:
    with pytest.raises(UnknownName) as error:
        read(entry)
    message = str(error.value)
    assert entry["refuse"] in message and entry.get("suggest", "") in message
    assert message.endswith(".") and ".." not in message.replace("...", "")


@pytest.mark.parametrize("group", LATER)
def test_later_phrasings_are_understood_or_refused_but_never_misread(group: str) -> None:
    right = []
    for entry in [entry for entry in SENTENCES if entry["group"] == group]:
        try:
            requests = read(entry)
        except UnknownName as error:
            assert str(error).endswith("."), entry["text"]
        else:
            assert "plan" in entry and requests == expected(entry), entry["text"]
            right.append(entry["text"])
    assert len(right) >= LATER[group]


def test_unseen_nouns_and_frames_are_in_no_table() -> None:
    tables = [*SETS.values(), *SYNONYMS, *RELATED.values(), *PLURALS.values(), *CUES.values(), GLUE]
    words = {word for text in tables for phrase in phrases(text) for word in phrase} | set(RELATED) | set(PLURALS)
    sentences = [*EXAMPLES.values(), *PAIR_FRAMES, *PAIR_HELD_OUT]
    sentences += [frame for table in (PHRASES, HELD_OUT) for frames in table.values() for frame in frames]
    frames = [frame.replace("_", " ") for table in (FRAMES, WIDE_FRAMES) for *_, own in table for frame in own]
    frames += [" ".join(entry) for *_, text in VERBS for entry in phrases(text)]
    frames += [" ".join(entry) for _, text, _ in NOUNS for entry in phrases(text)]
    for entry in UNSEEN:
        assert entry["noun"] not in words, entry["text"]
        assert not any(f" {entry['frame']} " in f" {text.lower()} " for text in (*sentences, *frames)), entry["text"]


def test_most_unseen_phrasings_are_understood_and_the_rest_refused() -> None:
    right, refused, wrong = [], [], []
    for entry in UNSEEN:
        try:
            (right if read(entry) == expected(entry) else wrong).append(entry["text"])
        except UnknownName:
            refused.append(entry["text"])
    print(f"unseen phrasings: {len(right)} right, {len(refused)} refused, {len(wrong)} wrong of {len(UNSEEN)}")
    assert not wrong and len(right) / len(UNSEEN) >= LEAST_RIGHT, (refused, wrong)
