"""A tiny real model, and the folder it is saved in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from visgen.task import MultiTaskModel, build_model
from visgen.zoo import save_pretrained

torch.set_num_threads(1)  # tiny tensors gain nothing from threads, and a busy machine loses much

CONFIG: dict[str, Any] = {
    "backbone": {
        "name": "vit_moe",
        "width": 32,
        "depth": 2,
        "heads": 2,
        "num_experts": 4,
        "top_k": 2,
        "attention_experts": 4,
    },
    "heads": {
        "classification": {"task": "classification", "classes": ("cat", "dog", "owl")},
        "segmentation.camvid": {"task": "segmentation", "classes": ("sky", "road")},
        "depth": {"task": "depth"},
    },
    "max_side": 96,
}


def new_model(seed: int = 0) -> MultiTaskModel:
    torch.manual_seed(seed)
    return build_model(CONFIG).eval()


@pytest.fixture
def model() -> MultiTaskModel:
    return new_model()


@pytest.fixture
def folder(model: MultiTaskModel, tmp_path: Path) -> Path:
    return save_pretrained(model, tmp_path / "tiny")
