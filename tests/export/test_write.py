"""An exported file gives the pipeline's answers from the picture file on, prepared by its own metadata alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen import pipeline
from visgen.engine import with_head
from visgen.errors import CheckpointError, ConfigError, UnknownName
from visgen.export import ExportedModel, export_model
from visgen.task import HeadSpec, MultiTaskModel

TURNS = {6: Image.Transpose.ROTATE_270}


def prepare(path: Path, steps: list[dict[str, Any]]) -> tuple[np.ndarray, tuple[int, int]]:
    """Make the input from a picture file with Pillow and numpy, step by step as the metadata say; no torch."""
    picture = Image.open(path)
    turn = TURNS.get(picture.getexif().get(0x0112, 1))
    values: Any = picture if turn is None else picture.transpose(turn)
    size = (values.height, values.width)
    for step in steps:
        if step["step"] == "decode":
            values = np.asarray(values.convert(step["color"]))
        elif step["step"] == "scale":
            values = values.astype(step["dtype"]) / np.float32(step["divide_by"])
        elif step["step"] == "resize":
            height, width = values.shape[:2]
            if "height" in step:
                target = (step["height"], step["width"])
            else:
                longest, factor = max(height, width), 1.0
                if longest > step["longer_side_at_most"]:
                    factor = step["longer_side_at_most"] / longest
                elif step["longer_side_at_least"] and longest < step["longer_side_at_least"]:
                    factor = step["longer_side_at_least"] / longest
                target = tuple(max(step["side_at_least"], round(side * factor)) for side in (height, width))
            assert step["filter"] == "bilinear" and step["antialias"]
            if target != (height, width):  # Pillow's own filter on float planes: independent of torch
                planes = [
                    np.asarray(Image.fromarray(values[..., c], "F").resize(target[::-1], Image.Resampling.BILINEAR))
                    for c in range(3)
                ]
                values = np.stack(planes, axis=-1).clip(*step["clip"])
        elif step["step"] == "layout":
            assert (step["from"], step["to"]) == ("HWC", "NCHW")
            values = values.transpose(2, 0, 1)[None]
        else:
            raise AssertionError(f"unknown step {step}")
    return np.ascontiguousarray(values, dtype=np.float32), size


def enlarge(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation (C, h, w) -> (C, H, W) with half-pixel centres and no antialias, in numpy."""
    for axis, wanted in ((1, size[0]), (2, size[1])):
        count = cells.shape[axis]
        at = ((np.arange(wanted) + 0.5) * count / wanted - 0.5).clip(0, count - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, count - 1)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(3)])
        cells = cells.take(low, axis) * (1 - share) + cells.take(high, axis) * share
    return cells


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


def test_onnxruntime_reproduces_the_pipeline_from_the_file(model: MultiTaskModel, exported: Any, photo: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    meta = json.loads(session.get_modelmeta().custom_metadata_map["visgen"])
    images, size = prepare(photo, meta["prepare"])
    assert images.shape[2:] == (96, 70) and size == (150, 110)  # turned upright, and shrunk
    (logits,) = session.run([meta["output"]["name"]], {meta["input"]["name"]: images})
    stride = round(images.shape[2] / logits.shape[2])
    full = enlarge(logits[0], (logits.shape[2] * stride, logits.shape[3] * stride))[:, :96, :70]
    scores = softmax(enlarge(full, size))

    image = torch.from_numpy(images)
    with torch.no_grad():
        wanted, _ = model(image, "segmentation")
    np.testing.assert_allclose(logits, wanted.numpy(), rtol=1e-3, atol=1e-3)
    answer = pipeline("segmentation", model)(str(photo)).segmentation
    ids, two = answer.ids.numpy(), np.sort(scores, axis=0)
    clear = two[-1] - two[-2] > 2e-3  # elsewhere rounding to 1e-3 decides
    assert clear.mean() > 0.9
    assert (scores.argmax(0) == ids)[clear].all()
    assert [meta["classes"][i] for i in np.unique(ids)] == [answer.classes[i] for i in np.unique(ids)]


def test_the_reader_gives_what_the_pipeline_gives(model: MultiTaskModel, exported: Any, photo: Path) -> None:
    ours = ExportedModel(exported.folder)(str(photo))
    theirs = pipeline("segmentation", model)(str(photo))
    assert ours.size == theirs.size == (150, 110)
    assert (ours.segmentation.ids == theirs.segmentation.ids).float().mean() > 0.999


def test_batches_and_sizes_are_free(model: MultiTaskModel, exported: Any) -> None:
    opened = ExportedModel(exported.file)
    for shape in ((1, 3, 33, 100), (3, 3, 96, 64), (2, 3, 77, 45)):
        images = torch.rand(*shape, generator=torch.Generator().manual_seed(shape[2]))
        with torch.no_grad():
            wanted, _ = model(images, "segmentation")
        torch.testing.assert_close(opened.run(images), wanted, rtol=1e-3, atol=1e-3)


def test_the_folder_says_what_it_holds(exported: Any) -> None:
    meta = json.loads((exported.folder / "export.json").read_text())
    assert meta == exported.meta == ExportedModel(exported.file).meta
    assert meta["classes"] == ["sky", "road", "car"]
    assert meta["inside"]["normalise"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert meta["experts"]["form"] == "dense"
    assert meta["experts"]["layers"]["backbone.blocks.1.mlp"] == {
        "bank": 4,
        "per_token": 2,
        "selectable": [0, 1, 2, 3],
    }
    assert meta["parity"]["largest_difference"] <= meta["parity"]["tolerance"] == 1e-3
    assert "ExportedModel" in (exported.folder / "README.md").read_text()


def test_torch_export_of_one_size(model: MultiTaskModel, photo: Path, tmp_path: Path) -> None:
    found = export_model(model, "classification", tmp_path / "out", format="torch_export", size=(40, 56))
    opened = ExportedModel(found.file)
    assert opened.size == (40, 56)
    image = opened.prepare(str(photo))
    assert image.shape == (3, 40, 56)
    with torch.no_grad():
        wanted, _ = model(image[None], "classification")
    torch.testing.assert_close(opened(str(photo)).classification.probabilities, wanted[0].softmax(0))


def test_torch_export_of_any_size_takes_strips_too(model: MultiTaskModel, tmp_path: Path) -> None:
    given = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(1))  # of another size than the samples
    found = export_model(model, "segmentation", tmp_path / "out", format="torch_export", probes=given)
    opened = ExportedModel(found.file)
    strip = np.random.default_rng(0).integers(0, 256, (300, 40, 3), dtype=np.uint8)
    assert opened.prepare(strip).shape == (3, 96, 33)
    assert opened(strip).segmentation.size == (300, 40)
    small = torch.rand(1, 3, 64, 32, generator=torch.Generator().manual_seed(2))  # as an evaluation resizes
    assert opened.predict(small, sizes=[(64, 32)])["segmentation"][0].size == (64, 32)


def test_onnx_takes_a_side_of_32(model: MultiTaskModel, exported: Any) -> None:
    opened = ExportedModel(exported.file)
    strip = np.random.default_rng(0).integers(0, 256, (300, 40, 3), dtype=np.uint8)
    images = opened.prepare(strip)[None]
    assert images.shape == (1, 3, 96, 32)
    with torch.no_grad():
        torch.testing.assert_close(opened.run(images), model(images, "segmentation")[0], rtol=1e-3, atol=1e-3)


def test_integers_of_an_earlier_export_go(model: MultiTaskModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("model.int8.onnx", "int8.json", "notes.txt"):
        (tmp_path / "out" / name).write_text("of another model")
    export_model(model, "classification", tmp_path / "out", format="torch_export", size=(40, 56))
    left = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert left == ["README.md", "export.json", "model.pt2", "notes.txt"]


def test_what_cannot_be_exported_is_said(model: MultiTaskModel, tmp_path: Path) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="the extra [export] is not installed")
    with pytest.raises(ConfigError, match=r"'scene_graph' is of task 'scene_graph', which cannot be exported"):
        export_model(model, "scene_graph", tmp_path / "a")
    dense = with_head(model, "ood.maps", HeadSpec("ood", on="segmentation", options={"score": "joint_energy"}))
    with pytest.raises(ConfigError, match="an exported OOD head stands on a classification head"):
        export_model(dense, "ood.maps", tmp_path / "a")
    told = with_head(model, "retrieval", HeadSpec("retrieval", route="classification"))
    with pytest.raises(ConfigError, match="task 'retrieval', which has no exported form"):
        export_model(told, "retrieval", tmp_path / "a")
    with pytest.raises(UnknownName, match=r"format 'onx' is unknown; did you mean 'onnx'"):
        export_model(model, "depth", tmp_path / "a", format="onx")
    with pytest.raises(ConfigError, match=r"size is 16x64; both sides must be 32\.\.4096"):
        export_model(model, "depth", tmp_path / "a", format="torch_export", size=(16, 64))
    assert not (tmp_path / "a").exists()


def test_a_file_without_metadata_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"is no exported file"):
        ExportedModel(tmp_path / "x.bin")
    with pytest.raises(CheckpointError, match=r"holds 0 of model\.onnx and model\.pt2"):
        ExportedModel(tmp_path)
