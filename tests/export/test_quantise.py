"""8-bit files are measured on the task and kept only within the tolerance; routers stay in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from visgen.data import Sample
from visgen.errors import ConfigError, UnknownName
from visgen.export import ExportedModel, export_model
from visgen.export.quantise import INT8_FILE, quantise
from visgen.structures import Boxes, SemanticMap
from visgen.task import MultiTaskModel


class Labelled:
    """Random pictures with the model's own answers as labels, so that float32 scores 1 and any change shows."""

    name, heads = "labelled", {"segmentation": "segmentation"}

    def __init__(self, model: MultiTaskModel, count: int = 4) -> None:
        generator = torch.Generator().manual_seed(5)
        self.classes = {"segmentation": model.specs["segmentation"].classes}
        self.samples = []
        for _ in range(count):
            coarse = torch.rand(1, 3, 4, 5, generator=generator)
            image = torch.nn.functional.interpolate(coarse, size=(64, 80), mode="bilinear")[0]
            ids = model.predict(image[None], ["segmentation"])["segmentation"][0].ids
            self.samples.append(Sample(image, {"segmentation": SemanticMap(ids, self.classes["segmentation"])}))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


@pytest.fixture(scope="module")
def source(model: MultiTaskModel) -> Labelled:
    return Labelled(model)


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_a_file_within_the_tolerance_is_kept(exported: Any, source: Labelled, method: str) -> None:
    report = quantise(exported, source, method=method, tolerance=0.9, calibration=2, data="labelled [val]")
    assert report.kept and report.float32 == pytest.approx(1.0, abs=1e-3)
    assert report.drop == pytest.approx(report.float32 - report.int8, abs=1e-3)
    assert report.bytes_int8 < report.bytes_float32
    opened = ExportedModel(exported.folder / INT8_FILE)
    assert opened.meta["int8"]["method"] == method == json.loads((exported.folder / "int8.json").read_text())["method"]
    image = source[0].image[None]
    whole, small = ExportedModel(exported.file).run(image), opened.run(image)
    assert 0 < float((whole - small).abs().max()) < float(whole.std()) * 2  # it was rounded, and is still the same


def test_routers_stay_in_float32(exported: Any, source: Labelled) -> None:
    onnx = pytest.importorskip("onnx")
    quantise(exported, source, method="static", tolerance=0.9, calibration=2)
    graph = onnx.load(exported.folder / INT8_FILE)
    kinds = {entry.value for node in graph.graph.node for entry in node.metadata_props if "router" in entry.value}
    assert kinds
    routers = [n for n in graph.graph.node if any("router" in e.value for e in n.metadata_props)]
    assert any(n.op_type in ("MatMul", "Gemm") for n in routers)


def test_a_file_beyond_the_tolerance_is_not_written(exported: Any, source: Labelled) -> None:
    (exported.folder / INT8_FILE).unlink(missing_ok=True)
    report = quantise(exported, source, method="static", tolerance=0.0, calibration=2)
    assert not report.kept and report.drop > 0
    assert not (exported.folder / INT8_FILE).exists()
    assert not list(exported.folder.glob(".*"))


def test_wrong_options_are_refused(exported: Any, source: Labelled) -> None:
    with pytest.raises(UnknownName, match=r"int8 method 'statik' is unknown; did you mean 'static'"):
        quantise(exported, source, method="statik")
    with pytest.raises(ConfigError, match=r"tolerance is 2 and calibration 64"):
        quantise(exported, source, tolerance=2)


def test_boxes_of_some_classes_only_are_measured_by_what_they_can_tell(
    exported: Any, model: MultiTaskModel, tmp_path: Path
) -> None:
    spec = model.specs["detection"]
    boxes = Boxes(torch.tensor([[4.0, 4, 40, 50]]), torch.tensor([0]), (64, 80), spec.classes, complete=("cat",))
    partly = Labelled(model, 1)
    partly.heads, partly.classes = {"detection": "detection"}, {"detection": spec.classes}
    partly.samples = [Sample(partly.samples[0].image, {"detection": boxes})]
    found = quantise(export_model(model, "detection", tmp_path / "d"), partly, method="dynamic", tolerance=0.99)
    assert found.metric == "AR@100"
