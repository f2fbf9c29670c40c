"""Evaluation against figures worked by hand, and the same figures however images are grouped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from visgen.data import Sample
from visgen.engine import evaluate
from visgen.engine.evaluate import evenly_spaced
from visgen.errors import ConfigError, DataError
from visgen.structures import Classification, ClassLabel, SemanticMap
from visgen.task import build_model

LIGHT = ("dark", "bright")


class Images:
    """Grey images of given (height, width, brightness), labelled for one task by `label`."""

    name = "greys"

    def __init__(self, images: list[tuple[int, int, float]], task: str, labels: list[Any]) -> None:
        self.images, self.labels, self.task = images, labels, task
        self.heads, self.classes = {task: f"{task}.light"}, {task: LIGHT}
        self.reads: list[int] = []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        height, width, value = self.images[index]
        label = self.labels[index]
        if label is None:
            return Sample(torch.full((3, height, width), value), {}, {})
        target = ClassLabel(label, LIGHT) if self.task == "classification" else SemanticMap(label, LIGHT)
        return Sample(torch.full((3, height, width), value), {self.task: target}, {})


class Threshold:
    """Calls what is brighter than a half "bright", for whole images and for pixels."""

    def __init__(self) -> None:
        self.specs = {
            f"{task}.light": SimpleNamespace(task=task, classes=LIGHT) for task in ("classification", "segmentation")
        }
        self.calls: list[tuple[int, ...]] = []

    def resolve(self, name: str) -> str:
        return name if name in self.specs else f"{name}.light"

    def predict(self, images: Tensor, heads: list[str], *, sizes: Any = None) -> dict[str, list[Any]]:
        self.calls.append(tuple(images.shape))
        (head,) = heads
        if head == "classification.light":
            bright = images.mean(dim=(1, 2, 3))
            return {head: [Classification(torch.stack([1 - b, b]), LIGHT) for b in bright]}
        maps = [(F.interpolate(i[None], size=s)[0].mean(0) > 0.5).long() for i, s in zip(images, sizes, strict=True)]
        return {head: [SemanticMap(m, LIGHT) for m in maps]}


def brightness(labels: list[int | None], sizes: list[tuple[int, int]] | None = None) -> Images:
    """Images that the threshold calls 0, 1, 0, 1, ..."""
    sizes = sizes or [(32, 32)] * len(labels)
    images = [(h, w, 0.25 + 0.5 * (i % 2)) for i, (h, w) in enumerate(sizes)]
    return Images(images, "classification", labels)


def test_accuracy_by_hand_with_its_protocol() -> None:
    report = evaluate(Threshold(), brightness([0, 1, 0, 0, None]), name="threshold", data="greys:x")
    assert report.metrics["top1"] == 0.75
    assert (report.task, report.model, report.data) == ("classification", "threshold", "greys:x")
    protocol = report.protocol
    assert (protocol["head"], protocol["images"], protocol["images_without_target"]) == ("classification.light", 4, 1)
    assert protocol["images_in_source"] == 5 and protocol["input"] == "as stored" and protocol["dtype"] == "float32"
    assert report.to_dict()["metrics"] == report.metrics


def test_images_of_one_size_go_together_and_change_no_figure() -> None:
    sizes = [(32, 32), (40, 32), (32, 32), (32, 40), (40, 32), (32, 32), (32, 32)]
    labels = [0, 1, 1, 1, 0, 1, 0]
    figures = []
    for batch_size in (1, 2, 3, 64):
        model = Threshold()
        figures.append(evaluate(model, brightness(labels, sizes), batch_size=batch_size).metrics)
        assert sum(shape[0] for shape in model.calls) == 7 and max(s[0] for s in model.calls) <= batch_size
    assert all(f == figures[0] for f in figures)
    assert sorted(model.calls) == [(1, 3, 32, 40), (2, 3, 40, 32), (4, 3, 32, 32)]


def test_no_more_than_four_batches_wait() -> None:
    source = brightness([0, 1] * 10, [(32 + i, 32) for i in range(20)])

    class Watching(Threshold):
        def __init__(self) -> None:
            super().__init__()
            self.waiting: list[int] = []

        def predict(self, images: Tensor, heads: list[str], *, sizes: Any = None) -> dict[str, list[Any]]:
            self.waiting.append(len(source.reads) - sum(shape[0] for shape in self.calls))
            return super().predict(images, heads, sizes=sizes)

    model = Watching()
    assert evaluate(model, source, batch_size=2).protocol["images"] == 20
    assert max(model.waiting) == 8


def test_a_limit_reads_only_evenly_spaced_samples() -> None:
    source = brightness([0, 1] * 5)
    assert evaluate(Threshold(), source, limit=4).protocol["images"] == 4
    assert source.reads == [0, 2, 5, 7]
    assert evenly_spaced(3, None) == evenly_spaced(3, 9) == [0, 1, 2] and evenly_spaced(10, 1) == [0]


def test_a_shrunk_image_is_scored_at_the_size_of_its_labels() -> None:
    label = torch.zeros(48, 96, dtype=torch.int64)
    label[:, 24:] = 1
    label[0] = 255
    source = Images([(48, 96, 0.9)], "segmentation", [label])
    model = Threshold()
    report = evaluate(model, source, max_side=64)
    assert model.calls == [(1, 3, 32, 64)] and report.protocol["input"] == "longer side at most 64"
    assert report.metrics["pixel_accuracy"] == pytest.approx(0.75)
    assert report.metrics["mIoU"] == pytest.approx(0.375)


def test_no_side_falls_under_what_a_backbone_reads() -> None:
    model = Threshold()
    evaluate(model, brightness([0], [(20, 200)]), max_side=100)
    assert model.calls == [(1, 3, 32, 100)]


def test_a_transform_is_seeded_by_position_and_recorded() -> None:
    seen: list[float] = []

    def jitter(sample: Sample, generator: torch.Generator) -> Sample:
        seen.append(float(torch.rand((), generator=generator)))
        return sample

    for _ in range(2):
        report = evaluate(Threshold(), brightness([0, 1]), transform=jitter)
    assert seen[:2] == seen[2:] and seen[0] != seen[1] and "jitter" in report.protocol["transform"]


def test_reading_ahead_changes_no_figure_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    source = brightness([0, 0, 1])
    ahead = evaluate(Threshold(), source, workers=1, progress=lambda done, total: told.append((done, total)))
    assert ahead.metrics == evaluate(Threshold(), source).metrics and told == [(1, 3), (2, 3), (3, 3)]


def test_mistakes_are_told() -> None:
    source, model = brightness([0, 1]), Threshold()
    with pytest.raises(ConfigError, match="batch_size 0, limit None, max_side None: each must be 1 or more"):
        evaluate(model, source, batch_size=0)
    with pytest.raises(ConfigError, match="dtype is 'half'; use one of float32, bfloat16, float16"):
        evaluate(model, source, dtype="half")
    model.specs["detection.light"] = SimpleNamespace(task="detection", classes=LIGHT)
    boxes = SimpleNamespace(name="boxes", heads={"detection": "detection.light"}, classes={"detection": LIGHT})
    with pytest.raises(
        ConfigError,
        match="tta is asked of task 'detection' of a Threshold; a MultiTaskModel averages class",
    ):
        evaluate(model, boxes, tta=True)
    del model.specs["detection.light"]
    with pytest.raises(ConfigError, match="'segmentation.light' needs labels for 'segmentation', but source 'greys'"):
        evaluate(model, source, "segmentation")
    with pytest.raises(DataError, match="none of the 2 samples read from 'greys' has a target for 'classification'"):
        evaluate(model, brightness([None, None]))
    source.classes = {"classification": ("dark", "light")}
    with pytest.raises(ConfigError, match="label sets: class 1 is 'bright' in the model and 'light' in the data"):
        evaluate(model, source)
    source.classes = {"classification": ("dark",)}
    with pytest.raises(ConfigError, match="the model has 2 classes and the data 1"):
        evaluate(model, source)
    source.heads = {"classification": "classification.other"}
    with pytest.raises(ConfigError, match="has heads classification.other and the model .* 0 are shared, so name the"):
        evaluate(model, source)


def test_a_real_model_gives_the_same_figures_in_any_batch_and_keeps_its_mode() -> None:
    torch.manual_seed(0)
    options = {"width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4}
    heads = {"segmentation.light": {"task": "segmentation", "classes": LIGHT}}
    model = build_model({"backbone": {"name": "vit_moe", **options}, "heads": heads}).train()
    labels = [torch.randint(0, 2, (40, 48)) for _ in range(3)]
    source = Images([(40, 48, 0.2), (40, 48, 0.5), (40, 48, 0.9)], "segmentation", labels)
    one, three = (evaluate(model, source, batch_size=n).metrics for n in (1, 3))
    assert one.keys() == three.keys() and all(one[k] == pytest.approx(three[k], abs=1e-3) for k in one)
    assert model.training and all(p.grad is None for p in model.parameters())
