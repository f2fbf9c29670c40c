"""Each of the six tasks has codecs and phrases: what its head would answer can be asked in English and drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from visgen.diffusion.codec import CodecSettings
from visgen.errors import DataError
from visgen.language import OpenWorld, TaskRequest, parse
from visgen.structures import (
    Boxes,
    Classification,
    ClassLabel,
    DepthMap,
    OODLabel,
    OODVerdict,
    SceneGraph,
    SemanticMap,
)
from visgen.task import TASK_KEYS, TASKS

CLASSES = ("cat", "dog", "tree")
SIZE = (48, 64)
BOXES = Boxes(torch.tensor([[4.0, 6.0, 30.0, 40.0], [36.0, 20.0, 60.0, 44.0]]), torch.tensor([0, 1]), SIZE, CLASSES)
# Task key -> (request, target, type of the answer).
CASES: dict[str, tuple[TaskRequest, Any, type]] = {
    "classification": (TaskRequest("classification", CLASSES), ClassLabel(1, CLASSES), Classification),
    "segmentation": (
        TaskRequest("segmentation", ("dog",)),
        SemanticMap(torch.arange(48 * 64).reshape(SIZE) // 1024, CLASSES),
        SemanticMap,
    ),
    "detection": (TaskRequest("detection", ("cat",)), BOXES, Boxes),
    "depth": (TaskRequest("depth"), DepthMap(torch.linspace(1, 20, 64).expand(SIZE).clone()), DepthMap),
    "ood": (TaskRequest("ood"), OODLabel(True), OODVerdict),
    "scene_graph": (
        TaskRequest("scene_graph", relation=("cat", None, "dog")),
        SceneGraph(BOXES, torch.tensor([[0, 1, 0]]), ("on", "under")),
        SceneGraph,
    ),
}
SETTINGS = CodecSettings(predicates=("on", "under"))


@pytest.mark.parametrize("key", TASK_KEYS)
def test_the_target_comes_back_from_its_picture_as_the_answer_of_the_task(key: str) -> None:
    request, target, kind = CASES[key]
    task = TASKS.get(key)
    codec = task.codec(request, SETTINGS)
    assert codec.name in task.codecs
    picture = codec.encode(target, request, SIZE)
    assert picture.shape == (3, *SIZE) and picture.dtype == torch.float32 and float(picture.abs().max()) <= 1
    answer = codec.decode(picture, request, SIZE)
    assert type(answer) is kind
    torch.testing.assert_close(codec.encode(_as_target(answer), request, SIZE), picture, atol=1e-4, rtol=0)


def _as_target(answer: Any) -> Any:
    if isinstance(answer, Classification):
        return ClassLabel(int(answer.probabilities.argmax()), answer.classes)
    return answer


@pytest.mark.parametrize("key", TASK_KEYS)
def test_its_phrases_read_back_as_the_request(key: str) -> None:
    request = CASES[key][0]
    generator = torch.Generator().manual_seed(2)
    vocabulary = {name: [] if name in ("depth", "ood") else CLASSES for name in TASK_KEYS}
    for split in ("train", "frames", "synonyms"):
        text = TASKS.get(key).phrase(request, generator, split)
        assert [replace(r, raw="") for r in parse(text, vocabulary, None, OpenWorld(CLASSES))] == [request], text


def test_a_request_of_another_task_is_refused() -> None:
    with pytest.raises(DataError, match="the request asks for depth; it was given to the task 'ood'"):
        TASKS.get("ood").codec(TaskRequest("depth"))
    with pytest.raises(DataError, match="the request asks for depth"):
        TASKS.get("ood").phrase(TaskRequest("depth"), torch.Generator())
