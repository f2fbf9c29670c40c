"""The figures of an instruction model: black answers earn what absent questions give, and no more."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from visgen.data import Sample
from visgen.diffusion import Query
from visgen.diffusion.codec import codec_for
from visgen.diffusion.measure import Asked
from visgen.engine import instruct_eval
from visgen.engine.instruct_bound import autoencoder_bound
from visgen.errors import DataError
from visgen.language import TaskRequest
from visgen.structures import Boxes, ClassLabel, DepthMap, Masks, OODLabel, SemanticMap

SIZE = (32, 32)
NAMES = ("cat", "dog", "owl")
PREDICATES = ["on", "under", "left of"]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model that draws every true answer; under each control it draws nothing."""

    def draw(model: Any, rows: list[Asked], way: str = "model", **others: Any) -> list[Tensor]:
        black = torch.full((3, *SIZE), -1.0)
        is_right = way in ("model", "bound")
        return [r.query.picture(codec_for(r.query.request), SIZE)[0] if is_right else black for r in rows]

    monkeypatch.setattr(instruct_eval, "answer_pictures", draw)
    config = SimpleNamespace(size=32, codec={"predicates": PREDICATES}, sampling_of=lambda kind: None)
    return SimpleNamespace(config=config, encode_target=lambda pictures: pictures, decode=lambda latents: latents)


def asked(task: str, *rows: tuple[Any, str, bool]) -> list[Asked]:
    return [
        Asked(Sample(torch.zeros(3, *SIZE)), Query(TaskRequest(task, (name,) if name else ()), value, there), name)
        for value, name, there in rows
    ]


def square(kind: int) -> Tensor:
    ids = torch.full(SIZE, 2)
    ids[8:24, 8:24] = kind
    return ids


def test_what_is_there_and_what_is_not_are_told_apart(model: Any) -> None:
    cat, dog = (SemanticMap(square(k), NAMES) for k in (0, 1))
    rows = asked("segmentation", (cat, "cat", True), (dog, "dog", True), (cat, "dog", False), (dog, "dog", True))
    found = instruct_eval.summarise_ways(model, rows)
    assert (found["questions"], found["absent questions"]) == (4, 1)
    assert found["model"] == pytest.approx({"score": 1, "present": 1, "IoU": 1, "absent": 1, "area": 0, "mIoU": 1})
    blank = {"score": 0.25, "present": 0, "IoU": 0, "absent": 1, "area": 0, "mIoU": 0}
    for way in ("shuffled", "other image", "no image", "blank"):
        assert found[way] == pytest.approx(blank)
        gain = found["gain" if way == "shuffled" else f"gain over {way}"]
        assert gain["difference"] == pytest.approx(0.75) and 0 <= gain["low"] <= 0.75 <= gain["high"] <= 1


def test_masks_are_measured_as_maps_are(model: Any) -> None:
    masks = Masks(torch.stack([square(0) == 0, square(1) == 1]), torch.tensor([0, 0]), NAMES)
    rows = asked("segmentation", (masks, "cat", True), (masks, "owl", False))
    figures = instruct_eval.summarise_ways(model, rows)
    assert figures["model"]["mIoU"] == 1.0 and figures["blank"]["mIoU"] == 0.0


def test_boxes_classes_depth_and_oddities_have_figures_of_the_whole_set(model: Any) -> None:
    boxes = Boxes(torch.tensor([[4.0, 4, 20, 20]]), torch.tensor([0]), SIZE, NAMES)
    found = instruct_eval.summarise_ways(model, asked("detection", (boxes, "cat", True), (boxes, "dog", False)))
    assert found["model"]["AP"] == pytest.approx(1) and found["blank"]["AP"] == 0
    partly = replace(boxes, complete=("cat", "dog"))
    found = instruct_eval.summarise_ways(model, asked("detection", (partly, "cat", True), (partly, "dog", False)))
    assert "AP" not in found["model"] and found["model"]["absent_boxes"] == 0
    label = ClassLabel(0, NAMES)
    yes_no = asked("classification", (label, "cat", True), (label, "dog", False), (label, "owl", False))
    assert instruct_eval.summarise_ways(model, yes_no)["model"]["mean_accuracy"] == 1.0
    metres = DepthMap(torch.linspace(1, 8, 32).expand(*SIZE).contiguous())
    found = instruct_eval.summarise_ways(model, asked("depth", (metres, "", True)))
    assert found["model"]["RMSE"] < 0.1 < found["blank"]["RMSE"] and "other image" not in found
    sides = asked("ood", (OODLabel(True), "", True), (OODLabel(False), "", True))
    found = instruct_eval.summarise_ways(model, sides)
    assert (found["model"]["AUROC"], found["blank"]["AUROC"]) == (1.0, 0.5)


def test_a_vae_that_loses_nothing_has_the_bound_of_the_codecs(model: Any) -> None:
    metres = DepthMap(torch.linspace(1, 8, 32).expand(*SIZE).contiguous())
    samples = [Sample(torch.zeros(3, *SIZE), {"depth": metres})]
    whole = autoencoder_bound(model, samples, pictures=8)
    assert whole == {"boxes": 1.0, "relations": 1.0, "AbsRel": pytest.approx(0, abs=1e-4)}
    model.decode = lambda latents: torch.full_like(latents, -1.0)
    lost = autoencoder_bound(model, samples, pictures=8)
    assert (lost["boxes"], lost["relations"]) == (0.0, 0.0) and lost["AbsRel"] > 0.3


def test_no_question_is_said(model: Any) -> None:
    with pytest.raises(DataError, match="there is no question to summarise"):
        instruct_eval.summarise_ways(model, [])
