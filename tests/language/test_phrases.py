"""Phrases: many, different, drawn from what their split allows, and the same for the same seed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from visgen.errors import ConfigError, DataError
from visgen.language import TASKS, OpenWorld, TaskRequest, parse
from visgen.language.phrase_table import FRAMES, HELD_OUT, PAIR_FRAMES, PAIR_HELD_OUT
from visgen.language.phrases import SPLITS, canonical, draw_phrase, frames_of, phrase_kind, synonyms_of

REQUESTS = {
    "segmentation": TaskRequest("segmentation", ("car",)),
    "pairs": TaskRequest("segmentation", ("car", "dog"), colours=(("car", "red"), ("dog", "blue"))),
    "detection": TaskRequest("detection", ("tv",), attributes=(("tv", "red"),)),
    "count": TaskRequest("detection", ("person",), quantifier="count"),
    "depth": TaskRequest("depth"),
    "depth of": TaskRequest("depth", ("sofa",)),
    "flag": TaskRequest("classification", ("bus",)),
    "coloured flag": TaskRequest("classification", ("bus",), colours=(("yes", "red"), ("no", "blue"))),
    "panel": TaskRequest("classification", ("bus", "orange", "shelf")),
    "ood": TaskRequest("ood"),
    "relation": TaskRequest("scene_graph", relation=("person", None, "hat")),
    "whole relation": TaskRequest("scene_graph", relation=("person", "wearing", "hat")),
    "open object": TaskRequest("scene_graph", relation=("person", "wearing", None)),
    "open subject": TaskRequest("scene_graph", relation=(None, "wearing", "hat")),
}


KINDS = (
    "building", "car", "bus", "truck", "person", "cyclist", "tree", "lamp", "sign", "dog", "box", "bench", "table",
    "chair", "shelf", "cabinet", "sofa", "bed", "tv", "picture", "bottle", "plant", "ball", "hat", "bag",
)  # fmt: skip


def asked(a: str, b: str, c: str) -> list[TaskRequest]:
    """Requests of every kind about three classes."""
    return [
        TaskRequest("segmentation", (a,)),
        TaskRequest("segmentation", (a, b)),
        TaskRequest("segmentation", exclude=(a,)),
        TaskRequest("segmentation", (a,), colours=((a, "yellow"),)),
        TaskRequest("segmentation", (a, b, c), colours=((a, "red"), (b, "blue"), (c, "white"))),
        TaskRequest("detection", (a,)),
        TaskRequest("detection", (a,), attributes=((a, "red"),)),
        TaskRequest("detection", (a,), quantifier="one"),
        TaskRequest("detection", (a,), quantifier="count"),
        TaskRequest("depth"),
        TaskRequest("depth", (a,)),
        TaskRequest("classification", (a,)),
        TaskRequest("classification", (a,), colours=(("yes", "red"), ("no", "blue"))),
        TaskRequest("classification", (a, b, c)),
        TaskRequest("ood"),
        TaskRequest("scene_graph", relation=(a, None, b)),
        TaskRequest("scene_graph", relation=(a, "wearing", b)),
        TaskRequest("scene_graph", relation=(a, "in front of", None)),
        TaskRequest("scene_graph", relation=(None, "on", b)),
    ]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_canonical_by_hand() -> None:
    assert {kind: canonical(request) for kind, request in REQUESTS.items()} == {
        "segmentation": "segment car",
        "pairs": "paint car red and dog blue",
        "detection": "find red tv",
        "count": "count person",
        "depth": "how far is everything",
        "depth of": "how far is sofa",
        "flag": "is there a bus",
        "coloured flag": "is there a bus? if so show red, otherwise blue",
        "panel": "which of these is it: bus, orange, shelf",
        "ood": "is anything unusual",
        "relation": "how is the person related to the hat",
        "whole relation": "is the person wearing the hat",
        "open object": "what is the person wearing",
        "open subject": "what is wearing the hat",
    }
    assert canonical(TaskRequest("segmentation", exclude=("sky", "stop_sign"))) == (
        "segment everything except sky and stop sign"
    )
    red = (("dog", "red"),)
    assert canonical(TaskRequest("segmentation", ("dog",), colours=(("dog", "blue"),), attributes=red)) == (
        "paint red dog blue"
    )
    assert canonical(TaskRequest("classification", ("dog", "cat"), attributes=red)) == (
        "which of these is it: red dog, cat"
    )


@pytest.mark.parametrize("kind", REQUESTS)
def test_kinds_and_frames(kind: str) -> None:
    assert phrase_kind(REQUESTS[kind]) == kind
    train, held = set(frames_of(kind)), set(frames_of(kind, "frames"))
    assert len(train) == len(frames_of(kind)) and held and not train & held
    assert len(train) >= (15 if not kind.startswith("open") else 6)


def test_no_frame_stands_twice() -> None:
    every = [frame for table in (FRAMES, HELD_OUT) for frames in table.values() for frame in frames]
    assert len(set(every)) == len(every) and not set(PAIR_FRAMES) & set(PAIR_HELD_OUT)


@pytest.mark.parametrize("kind", ["segmentation", "flag"])
def test_there_are_thousands_of_phrases(kind: str) -> None:
    generator = seeded(1)
    found = {draw_phrase(REQUESTS[kind], generator) for _ in range(6000)}
    assert len(found) >= 2000, len(found)


@pytest.mark.parametrize("split", [*SPLITS, "canonical"])
def test_every_phrase_reads_back_as_its_request(split: str) -> None:
    generator = seeded(SPLITS.index(split) if split in SPLITS else 9)
    vocabulary: dict[str, list[str]] = {task: [] if task in ("depth", "ood") else [*KINDS] for task in TASKS}
    for turn in range(9):
        a, b, c = (KINDS[k] for k in torch.randperm(len(KINDS), generator=generator)[:3].tolist())
        for request in asked(a, b, c):
            text = canonical(request) if split == "canonical" else draw_phrase(request, generator, split)
            found = [replace(r, raw="") for r in parse(text, vocabulary, None, OpenWorld(KINDS))]
            assert found == [request], (turn, text)


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_gives_the_same_phrases(split: str) -> None:
    drawn = [[draw_phrase(r, g, split) for r in REQUESTS.values() for _ in range(5)] for g in (seeded(3), seeded(3))]
    other = [draw_phrase(r, seeded(4), split) for r in REQUESTS.values()]
    assert drawn[0] == drawn[1] and drawn[0][::5] != other
    assert all(text == text.strip() and "{" not in text for text in drawn[0])


def test_held_out_words_stay_out_of_training() -> None:
    assert synonyms_of("car") == ("automobile",) and synonyms_of("car", "synonyms") == ("motorcar",)
    assert synonyms_of("Cars") == synonyms_of("car") and synonyms_of("zebra") == ()
    for split, generator in zip(("train", "frames"), (seeded(5), seeded(6)), strict=True):
        texts = [draw_phrase(REQUESTS["segmentation"], generator, split, noise=0) for _ in range(400)]
        assert not any("motorcar" in text for text in texts) and any("automobile" in text for text in texts)
    generator = seeded(7)
    held = [draw_phrase(REQUESTS["segmentation"], generator, "synonyms", noise=0) for _ in range(200)]
    assert all("motorcar" in text for text in held)


def test_held_out_frames_share_no_verb_phrase_with_training() -> None:
    train = {
        text.lower() for g in [seeded(8)] for text in (draw_phrase(REQUESTS["ood"], g, noise=0) for _ in range(500))
    }
    held = {
        text.lower()
        for g in [seeded(9)]
        for text in (draw_phrase(REQUESTS["ood"], g, "frames", noise=0) for _ in range(200))
    }
    assert any("sticks out" in text for text in held)
    assert not any(word in text for text in train for word in ("sticks out", "glow", "weird", "not normal"))


def test_the_number_of_the_noun_fits() -> None:
    generator = seeded(10)
    texts = [draw_phrase(REQUESTS["depth of"], generator, noise=0).lower() for _ in range(400)]
    assert not any(
        wrong in text for text in texts for wrong in ("is sofas", "is the sofas", "are the sofa ", "every sofas")
    )
    assert any("are the sofas" in text or "are all the sofas" in text for text in texts)


def test_one_several_and_exceptions_are_said_in_full() -> None:
    generator = seeded(12)
    for request, words in (
        (TaskRequest("detection", ("bus",), quantifier="one"), "one bus"),
        (TaskRequest("segmentation", ("bus", "dog")), " and "),
        (TaskRequest("segmentation", exclude=("bus",)), "everything except the bus"),
    ):
        assert all(
            words in draw_phrase(request, generator, split, noise=0).lower() for split in SPLITS for _ in range(30)
        )


def test_long_phrases_lose_what_stands_around_the_frame() -> None:
    generator = seeded(11)
    texts = [draw_phrase(REQUESTS["segmentation"], generator, most_words=6) for _ in range(300)]
    assert max(len(text.split()) for text in texts) <= 10  # a frame may be longer: it is never cut
    assert min(len(text.split()) for text in texts) <= 3


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (TaskRequest("classification"), "the request names none; name the labels"),
        (TaskRequest("scene_graph"), "asks for one relation"),
        (TaskRequest("scene_graph", relation=("dog", None, None)), "no words for the relation"),
        (TaskRequest("segmentation", ("dog", "cat"), colours=(("dog", "red"),)), "'cat' has no colour"),
    ],
)
def test_what_the_grammar_cannot_say_is_refused(request_: TaskRequest, message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw_phrase(request_, seeded())


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="split is 'test'.*Splits: train, frames, synonyms"):
        draw_phrase(REQUESTS["ood"], seeded(), "test")


def test_importing_phrases_loads_no_torch() -> None:
    code = "import sys, visgen.language.phrases; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
