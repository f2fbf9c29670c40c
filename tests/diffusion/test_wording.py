"""Sentences of training: each is read back as the question that it was drawn for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random

import pytest

from visgen.diffusion import Wording
from visgen.diffusion.reading import read_taught
from visgen.language import TaskRequest
from visgen.language.phrases import canonical

TWINS = ("table", "dining table", "cyclist", "bicyclist", "sidewalk", "pavement", "sofa", "couch", "dog")
TASKS = ("segmentation", "detection", "classification", "scene_graph")
VOCABULARY = dict.fromkeys(TASKS, TWINS)
REQUESTS = [
    *(TaskRequest(task, (name,)) for task in TASKS[:3] for name in TWINS),
    *(TaskRequest("scene_graph", relation=(name, None, "dog")) for name in TWINS[:2]),
    TaskRequest("classification", ("table", "dining table", "dog")),
    TaskRequest("segmentation", ("couch", "sofa"), colours=(("couch", "red"), ("sofa", "blue"))),
]


def read(text: str) -> tuple[TaskRequest, ...]:
    return read_taught(VOCABULARY, (), text)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{r.task} {r.classes or r.relation}")
def test_no_sentence_of_training_is_read_as_a_twin(request_):
    wording, random = Wording(lambda text: len(text.split()), 40, plain=0.0, read=read), Random(0)
    texts = [wording(request_, random) for _ in range(30)]
    assert all([replace(found, raw="") for found in read(text)] == [request_] for text in texts)
    assert texts.count(canonical(request_)) < 15  # and there are still many ways to say it


def test_without_twins_nothing_is_drawn_anew():
    request, others = TaskRequest("detection", ("table",)), [{"detection": names} for names in (("table",), ("dog",))]
    readers = [None, read, *(partial(read_taught, taught, ()) for taught in others)]
    texts = [[Wording(lambda text: 1, 40, 0.0, read=r)(request, Random(k)) for k in range(30)] for r in readers]
    assert texts[0] == texts[2] == texts[3] != texts[1]
