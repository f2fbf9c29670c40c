"""A file of boxes that a map weighs carries the map with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from visgen import pipeline
from visgen.errors import ConfigError
from visgen.export import ExportedModel, export_model
from visgen.export.answers import answer_difference
from visgen.task import MultiTaskModel, build_model

from .conftest import BACKBONE


def weighed(**segmentation: Any) -> MultiTaskModel:
    torch.manual_seed(0)
    heads = {
        "detection": {
            "task": "detection",
            "classes": ("cat", "dog"),
            "options": {"width": 16},
            "weighed_by": "segmentation",
        },
        "segmentation": {
            "task": "segmentation",
            "classes": ("sky", "dog", "cat"),
            "options": {"width": 16},
            **segmentation,
        },
    }
    backbone = {"name": "vit_moe", **BACKBONE}
    model = build_model({"backbone": backbone, "heads": heads, "max_side": 96, "min_side": 64}).eval()
    for bank in model.backbone.banks.values():
        for router in bank.router.tasks.values():
            torch.nn.init.normal_(router.weight)
        for tensor in bank.part(0).values():
            torch.nn.init.normal_(tensor, std=0.3)
    torch.nn.init.constant_(model.head("detection").classify.bias, 0.0)  # type: ignore[union-attr, arg-type]
    return model


@pytest.mark.parametrize("format", ["onnx", "torch_export"])
def test_the_file_answers_as_the_pipeline_does(format: str, photo: Path, tmp_path: Path) -> None:
    if format == "onnx":
        for name in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(name)
    model = weighed(route="detection")
    meta = export_model(model, "detection", tmp_path / "out", format=format).meta
    assert meta["weighed_by"]["classes"] == ["sky", "dog", "cat"] and len(meta["decode"]) == 7
    found = ExportedModel(tmp_path / "out")(str(photo)).detection
    wanted = pipeline("detection", model)(str(photo), threshold=0.0).detection
    assert len(wanted) > 5 and answer_difference(found, wanted) < 1e-3
    plain = build_model({**model.config(), "heads": without_weighing(model)}, load_weights=False).eval()
    plain.load_state_dict(model.state_dict())
    assert answer_difference(pipeline("detection", plain)(str(photo), threshold=0.0).detection, wanted) > 1e-2


def without_weighing(model: MultiTaskModel) -> dict[str, Any]:
    return {name: {**spec, "weighed_by": None} for name, spec in model.config()["heads"].items()}


def test_a_map_behind_another_router_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="so that one graph would need two passes"):
        export_model(weighed(), "detection", tmp_path / "out", format="torch_export")
    assert not (tmp_path / "out").exists()
