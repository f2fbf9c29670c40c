"""What held-out phrasings keep: read by the network itself, and through the parser as in use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from visgen.diffusion import Query, QueryConfig
from visgen.diffusion.measure import Asked
from visgen.engine import instruct_eval
from visgen.language import TaskRequest

QUESTIONS = [TaskRequest("segmentation", ("dog",)), TaskRequest("segmentation", ("cat",))]
SENTENCES = {
    "plain": ("segment dog", "segment cat"),
    "train": ("mask out the dog", "please segment the cats"),
    "frames": ("give me the region of the dog", "segment the dog"),  # the second asks for another class
    "synonyms": ("segment the zeppelin", "segment the cat"),  # the first is refused
}
SCORES = {"plain": (0.8, 0.4), "train": (0.6, 0.4), "frames": (0.3, 0.1), "synonyms": (0.0, 0.5)}


def test_a_sentence_counts_where_the_parser_takes_it_for_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(model: Any, source: Any, queries: Any, *, split: str = "plain", **others: Any) -> list[Asked]:
        pairs = zip(QUESTIONS, SENTENCES[split], strict=True)
        return [Asked(source, Query(request, None), text) for request, text in pairs]

    def rescore(model: Any, rows: list[Asked], way: str, **others: Any) -> list[dict[str, float]]:
        split = next(name for name, texts in SENTENCES.items() if texts == tuple(row.text for row in rows))
        return [{"score": score} for score in SCORES[split]]

    monkeypatch.setattr(instruct_eval, "ask", ask)
    monkeypatch.setattr(instruct_eval, "rescore", rescore)
    model: Any = SimpleNamespace(config=SimpleNamespace(classes={"segmentation": ("dog", "cat")}, codec={}))
    source: Any = None
    found = instruct_eval.phrasing_scores(model, source, QueryConfig())
    wanted = {
        "plain": 0.6, "plain understood": 1.0, "plain parsed": 0.6,
        "train": 0.5, "train understood": 1.0, "train parsed": 0.6,
        "frames": 0.2, "frames understood": 0.5, "frames parsed": 0.4,
        "synonyms": 0.25, "synonyms understood": 0.5, "synonyms parsed": 0.2,
        "frames kept": 0.4, "frames parsed kept": 0.4 / 0.6,
        "synonyms kept": 0.5, "synonyms parsed kept": 0.2 / 0.6,
    }  # fmt: skip
    assert found == pytest.approx(wanted)

    monkeypatch.setattr(instruct_eval, "rescore", lambda model, rows, way, **others: [{"score": 0.0}] * len(rows))
    kept = [name for name in instruct_eval.phrasing_scores(model, source, QueryConfig()) if name.endswith("kept")]
    assert kept == []  # nothing to keep of scores that are 0
