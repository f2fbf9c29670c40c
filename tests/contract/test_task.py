"""Every registered task keeps the Task contract: loss, decoding, metric and JSON agree on one typed target."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
import torch
from torch import Tensor

from visgen.backbones import BACKBONES, Backbone
from visgen.errors import VisgenError
from visgen.metrics import Metric
from visgen.metrics.protocol import FIGURES
from visgen.structures import (
    Boxes,
    Classification,
    ClassLabel,
    DepthMap,
    Descriptor,
    Masks,
    OODLabel,
    OODVerdict,
    PlaceLabel,
    SceneGraph,
    SemanticMap,
    value_from_dict,
)
from visgen.task import FURTHER_TASK_KEYS, TASK_KEYS, TASKS, HeadSpec, MultiTaskModel

from .test_backbone import CASES as BACKBONE_CASES

CLASSES = ("cat", "dog", "tree")
SIZE = (64, 96)


def class_labels() -> list[ClassLabel]:
    return [ClassLabel(i, CLASSES) for i in (0, 2)]


def semantic_maps() -> list[SemanticMap]:
    ids = torch.zeros(SIZE, dtype=torch.int64)
    ids[:, 40:] = 1
    ids[32:, 60:] = 2
    ids[:5] = 255
    return [SemanticMap(ids, CLASSES), SemanticMap(ids.flip(1), CLASSES)]


def depth_maps() -> list[DepthMap]:
    metres = torch.linspace(1, 6, SIZE[1]).expand(SIZE).clone()
    metres[:5] = 0
    return [DepthMap(metres), DepthMap(metres.flip(1))]


def boxes() -> list[Boxes]:
    first = torch.tensor([[4.0, 6.0, 40.0, 50.0], [50.0, 20.0, 90.0, 60.0]])
    second = torch.tensor([[10.0, 10.0, 30.0, 44.0]])
    return [
        Boxes(first, torch.tensor([0, 2]), SIZE, CLASSES),
        Boxes(second, torch.tensor([1]), SIZE, CLASSES, is_crowd=torch.tensor([False])),
    ]


def scored(target: Boxes) -> Boxes:
    return replace(target, scores=torch.linspace(0.9, 0.6, len(target)), is_crowd=None)


def certain(target: ClassLabel) -> Classification:
    return Classification(torch.eye(len(CLASSES))[target.label], CLASSES)


def ood_labels() -> list[OODLabel]:
    return [OODLabel(False), OODLabel(True)]


def masks() -> list[Masks]:
    """The upper half of each of the boxes."""
    planes = [torch.zeros(len(b), *SIZE, dtype=torch.bool) for b in boxes()]
    for image, target in zip(planes, boxes(), strict=True):
        for plane, (x1, y1, x2, y2) in zip(image, target.xyxy.int().tolist(), strict=True):
            plane[y1 : (y1 + y2) // 2, x1:x2] = True
    return [Masks(p, b.labels, CLASSES) for p, b in zip(planes, boxes(), strict=True)]


RELATIONS = ("on", "under")


def scene_graphs() -> list[SceneGraph]:
    triplets = (torch.tensor([[0, 1, 0], [1, 0, 1]]), torch.zeros(0, 3, dtype=torch.int64))
    return [SceneGraph(b, t, RELATIONS) for b, t in zip(boxes(), triplets, strict=True)]


def related(target: SceneGraph) -> SceneGraph:
    return replace(target, scores=torch.linspace(0.9, 0.6, len(target)))


def places() -> list[PlaceLabel]:
    return [PlaceLabel("square", "day"), PlaceLabel("square", "night")]


def pointing(target: PlaceLabel) -> Descriptor:
    """Pictures of one place share one direction."""
    return Descriptor(torch.eye(3)[["square", "bridge"].index(target.place)])


# Task key -> (classes, targets of a batch of two, type of an answer, target -> the perfect answer).
CASES: dict[str, tuple[tuple[str, ...], Callable[[], list[Any]], type, Callable[[Any], Any]]] = {
    "classification": (CLASSES, class_labels, Classification, certain),
    "segmentation": (CLASSES, semantic_maps, SemanticMap, lambda target: target),
    "detection": (CLASSES, boxes, Boxes, scored),
    "depth": ((), depth_maps, DepthMap, lambda target: target),
    "ood": ((), ood_labels, OODVerdict, lambda target: OODVerdict(float(target.is_ood))),
    "scene_graph": (RELATIONS, scene_graphs, SceneGraph, related),
    "retrieval": ((), places, Descriptor, pointing),
}
# What is ranked needs more pictures than two before an answer can be wrong.
MEASURED = {"retrieval": lambda: [*places(), PlaceLabel("bridge", "day")]}
PERFECT = {
    "classification": {"top1": 1.0},
    "segmentation": {"mIoU": 1.0, "pixel_accuracy": 1.0},
    "detection": {"AP": 1.0, "AP50": 1.0, "AP75": 1.0, "AR@100": 1.0},
    "depth": {"AbsRel": 0.0, "RMSE": 0.0, "delta1": 1.0},
    "ood": {"AUROC": 1.0, "FPR95": 0.0, "AUPR_in": 1.0, "AUPR_out": 1.0, "detection_error": 0.0},
    "scene_graph": {"R@20": 1.0, "mR@20": 1.0},
    "retrieval": {"mAP": 1.0, "R@1": 1.0},
}
METRIC: dict[str, dict[str, Any]] = {"scene_graph": {"objects": CLASSES, "protocol": "sggen"}}
TRAINED = [key for key in TASKS.names() if TASKS.get(key).is_trained]


def small_model(key: str, backbone: Backbone | None = None) -> MultiTaskModel:
    """A tiny convolutional net, or the backbone given, with the task's own head on top of the one that it stands on."""
    torch.manual_seed(0)
    task = TASKS.get(key)
    backbone = backbone or BACKBONES.get("timm")(model="test_resnet")
    below = {} if task.stands_on is None else {task.stands_on: HeadSpec(task.stands_on, CASES[task.stands_on][0])}
    model = MultiTaskModel(backbone, {**below, key: HeadSpec(key, CASES[key][0])})
    if not task.is_trained:
        logits, vectors = torch.randn(30, len(CLASSES)), torch.randn(30, backbone.token_dim)
        task.fit(model.head(key), logits, vectors, [ClassLabel(i % len(CLASSES), CLASSES) for i in range(30)])
        task.calibrate(model.head(key), logits, vectors)
    return model


def trained_on(model: MultiTaskModel, key: str) -> Any:
    """Logits for both photographs, with the queries of training."""
    queries = TASKS.get(key).training_queries(CASES[key][1](), {"masks": masks()})
    return model(photographs(), key, None, queries)[0]


def photographs() -> Tensor:
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_every_registered_task_has_a_case_and_a_place_in_the_order() -> None:
    assert set(CASES) == set(PERFECT) == set(TASKS.names())
    assert set(TASKS.names()) <= {*TASK_KEYS, *FURTHER_TASK_KEYS}
    assert not {*TASK_KEYS} & {*FURTHER_TASK_KEYS}
    assert all(TASKS.get(key).key == key for key in TASKS)


@pytest.mark.parametrize("key", TRAINED)
def test_the_loss_falls_when_trained(key: str) -> None:
    model, task = small_model(key).train(), TASKS.get(key)
    classes, targets, _, _ = CASES[key]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    # A detector's true scores are the quality of its own boxes, so its loss rises before it falls.
    for _ in range(25 if key == "detection" else 4):
        logits = trained_on(model, key)
        loss = task.loss(logits, targets(), {})
        assert loss.shape == () and loss.isfinite()
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0], losses
    assert task.outputs(classes) >= 1


@pytest.mark.parametrize("backbone", ["vit_moe with stem", "diffusion features"])
@pytest.mark.parametrize("key", TRAINED)
def test_the_same_head_learns_on_experts_and_on_diffusion_features(key: str, backbone: str) -> None:
    name, options = BACKBONE_CASES[backbone]
    routes = {"tasks": tuple(TRAINED)} if name == "vit_moe" else {}
    model, task = small_model(key, BACKBONES.get(name)(**{**options, **routes})).train(), TASKS.get(key)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(50):
        loss = task.loss(trained_on(model, key), CASES[key][1](), {})
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < losses[0], losses
    unet = [p for n, p in model.named_parameters() if ".unet." in n]
    assert bool(unet) == (backbone == "diffusion features") and all(p.grad is None for p in unet)


@pytest.mark.parametrize("key", TRAINED)
def test_every_parameter_of_model_and_head_gets_a_gradient(key: str) -> None:
    model = small_model(key).train()
    TASKS.get(key).loss(trained_on(model, key), CASES[key][1](), {}).backward()
    reached = [n for n, p in model.head(key).named_parameters() if p.grad is not None and p.grad.isfinite().all()]
    assert len(reached) == len(list(model.head(key).parameters()))
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())


@pytest.mark.parametrize("key", TASKS.names())
def test_decoding_gives_typed_values_of_the_asked_size(key: str) -> None:
    model = small_model(key)
    _, _, kind, _ = CASES[key]
    sizes = [(50, 70), (101, 33)]
    answers = model.predict(photographs(), [key], valid=[SIZE, (48, 80)], sizes=sizes)[key]
    assert [type(a) for a in answers] == [kind, kind]
    if hasattr(answers[0], "size"):
        assert [tuple(a.size) for a in answers] == sizes


@pytest.mark.parametrize("key", TASKS.names())
def test_a_batch_of_two_is_answered_like_two_of_one(key: str) -> None:
    model = small_model(key)
    images = photographs()
    both = model.predict(images, [key])[key]
    for i in range(2):
        (single,) = model.predict(images[i : i + 1], [key])[key]
        field = {
            "classification": "probabilities",
            "detection": "scores",
            "segmentation": "confidence",
            "depth": "metres",
            "ood": "score",
            "scene_graph": "scores",
            "retrieval": "vector",
        }[key]
        torch.testing.assert_close(getattr(single, field), getattr(both[i], field), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("key", TASKS.names())
def test_answers_and_targets_survive_json(key: str) -> None:
    answers = small_model(key).predict(photographs(), [key])[key]
    for value in (*answers, *CASES[key][1]()):
        again = value_from_dict(json.loads(json.dumps(value.to_dict())))
        assert type(again) is type(value)
        # Metres are kept to the millimetre; a second trip changes nothing at all.
        for name, stored in value.to_dict().items():
            is_number = isinstance(stored, float)
            assert again.to_dict()[name] == (pytest.approx(stored, abs=1e-3) if is_number else stored), name
        assert value_from_dict(again.to_dict()).to_dict() == again.to_dict()


@pytest.mark.parametrize("key", TASKS.names())
def test_perfect_answers_get_the_perfect_figures(key: str) -> None:
    classes, targets, _, perfect = CASES[key]
    targets = MEASURED.get(key, targets)
    metric = TASKS.get(key).metric(classes, **METRIC.get(key, {}))
    assert isinstance(metric, Metric)
    metric.update([perfect(t) for t in targets()], targets())
    figures = metric.compute()
    for name, value in PERFECT[key].items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name
    assert all(isinstance(v, float) and math.isfinite(v) for v in figures.values())
    assert all(any(fnmatchcase(name, known) for known in FIGURES[key]) for name in figures)


@pytest.mark.parametrize("key", TASKS.names())
def test_wrong_answers_get_worse_figures_and_merging_equals_one_metric(key: str) -> None:
    classes, targets, _, perfect = CASES[key]
    targets = MEASURED.get(key, targets)
    task = TASKS.get(key)
    right, wrong = targets(), list(reversed(targets()))
    whole, first, second = (task.metric(classes, **METRIC.get(key, {})) for _ in range(3))
    whole.update([perfect(t) for t in wrong], right)
    first.update([perfect(wrong[0])], right[:1])
    second.update([perfect(w) for w in wrong[1:]], right[1:])
    merged = first.merge(second).compute()
    assert merged == pytest.approx(whole.compute())
    for name, value in PERFECT[key].items():
        assert abs(merged[name] - value) > 0.05, name


@pytest.mark.parametrize("key", TRAINED)
def test_an_unknown_loss_option_is_refused_by_name(key: str) -> None:
    logits = trained_on(small_model(key), key)
    with pytest.raises(VisgenError, match="no_such_option"):
        TASKS.get(key).loss(logits, CASES[key][1](), {"no_such_option": 1})
