"""Every hand-written sentence gives exactly its plan, or is refused with the word that is to blame.

`sentences` were committed before there was a parser; `written_after_the_parser` afterwards.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from visgen.errors import UnknownName
from visgen.language import TaskRequest, explain, parse

FILE = json.loads((Path(__file__).parent / "sentences.json").read_text(encoding="utf-8"))
SENTENCES = [*FILE["sentences"], *FILE["written_after_the_parser"]]
PLANNED = [entry for entry in SENTENCES if "plan" in entry]
REFUSED = [entry for entry in SENTENCES if "refuse" in entry]


def vocabulary_of(entry: dict[str, Any]) -> dict[str, list[str]]:
    return FILE["vocabularies"][entry.get("vocabulary", "full")]


def expected(entry: dict[str, Any]) -> list[TaskRequest]:
    left_out = {"classes": [], "exclude": [], "relation": None, "quantifier": "all", "raw": entry["text"]}
    return [TaskRequest.from_dict({**left_out, **plan}) for plan in entry["plan"]]


def test_there_are_enough_sentences_and_none_twice() -> None:
    assert len(FILE["sentences"]) == 171 and len(SENTENCES) == len(PLANNED) + len(REFUSED) == 223
    assert len({(entry["text"], entry.get("vocabulary")) for entry in SENTENCES}) == len(SENTENCES)
    assert {request["task"] for entry in PLANNED for request in entry["plan"]} == set(FILE["vocabularies"]["full"])


@pytest.mark.parametrize("entry", PLANNED, ids=lambda entry: entry["text"])
def test_plan(entry: dict[str, Any]) -> None:
    assert parse(entry["text"], vocabulary_of(entry)) == expected(entry)


@pytest.mark.parametrize("entry", REFUSED, ids=lambda entry: entry["text"])
def test_refusal(entry: dict[str, Any]) -> None:
    with pytest.raises(UnknownName) as error:
        parse(entry["text"], vocabulary_of(entry))
    message = str(error.value)
    assert entry["refuse"] in message and entry.get("suggest", "") in message
    assert message.endswith(".") and ";;" not in message and ".." not in message.replace("...", "")


@pytest.mark.parametrize("entry", PLANNED, ids=lambda entry: entry["text"])
def test_every_plan_can_be_told_and_restored(entry: dict[str, Any]) -> None:
    requests = parse(entry["text"], vocabulary_of(entry))
    assert [TaskRequest.from_dict(json.loads(json.dumps(request.to_dict()))) for request in requests] == requests
    assert len(explain(requests).splitlines()) == len(requests)
