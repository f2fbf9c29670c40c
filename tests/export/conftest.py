"""A small mixture of experts with several tasks, and one file exported from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.task import MultiTaskModel, build_model

torch.set_num_threads(1)

BACKBONE = {"width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4}
HEADS = {
    "classification": {"task": "classification", "classes": ("cat", "dog", "owl")},
    "segmentation": {"task": "segmentation", "classes": ("sky", "road", "car"), "options": {"width": 16}},
    "depth": {"task": "depth", "options": {"width": 16}},
    "detection": {"task": "detection", "classes": ("cat", "dog"), "options": {"width": 16}},
    "scene_graph": {"task": "scene_graph", "classes": ("on", "under")},
}


def make(seed: int = 0, **backbone: Any) -> MultiTaskModel:
    torch.manual_seed(seed)
    model = build_model(
        {"backbone": {"name": "vit_moe", **BACKBONE, **backbone}, "heads": HEADS, "max_side": 96, "min_side": 64}
    ).eval()
    for bank in model.backbone.banks.values():
        for router in bank.router.tasks.values():  # scores far apart, so that no rounding turns a choice
            torch.nn.init.normal_(router.weight)
        for tensor in bank.part(0).values():  # experts that differ, so that a lost one shows
            torch.nn.init.normal_(tensor, std=0.3)
    return model


@pytest.fixture(scope="session")
def model() -> MultiTaskModel:
    return make()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG that the EXIF tag turns by a quarter: stored 150 x 110, seen 110 x 150 (width x height)."""
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    coarse.resize((150, 110), Image.Resampling.BICUBIC).save(path, quality=95, exif=exif)
    return path


@pytest.fixture(scope="session")
def exported(model: MultiTaskModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The segmentation head as ONNX, for pictures of any size."""
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="the extra [export] is not installed")
    from visgen.export import export_model

    return export_model(model, "segmentation", tmp_path_factory.mktemp("exported") / "segmentation")
