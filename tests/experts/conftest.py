"""A small model with everything the experts' functions touch: a prefix, both kinds of routed layers, three tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.config import RunConfig, from_mapping
from visgen.data import Sample
from visgen.task import MultiTaskModel, build_model

torch.set_num_threads(1)  # results are equal to the bit only with the same number, which a busy machine may not give

# Rows of 64 bytes: results are equal to the bit only where slices start at the same alignment.
CONFIG = {
    "backbone": {
        "name": "vit_moe",
        "width": 32,
        "heads": 2,
        "depth": 4,
        "prefix_depth": 2,
        "num_experts": 6,
        "top_k": 2,
        "attention_experts": 5,
    },
    "heads": {
        "classification.x": {"task": "classification", "classes": ["a", "b", "c"]},
        "segmentation.y": {"task": "segmentation", "classes": ["s", "t"], "options": {"width": 16}},
        "depth": {"task": "depth", "options": {"width": 16}},
    },
}


def make_model(seed: int = 0, **backbone: object) -> MultiTaskModel:
    torch.manual_seed(seed)
    model = build_model({**CONFIG, "backbone": {**CONFIG["backbone"], **backbone}}).eval()
    for bank in model.backbone.banks.values():  # scores far apart, so that no rounding turns a choice
        for router in bank.router.tasks.values():
            torch.nn.init.normal_(router.weight)
    return model


@pytest.fixture
def tiny_model() -> MultiTaskModel:
    return make_model()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


class Pictures:
    """A few random pictures as a Source with labels of the depth task."""

    def __init__(self, count: int = 3, seed: int = 0, size: tuple[int, int] = (64, 96), name: str = "pictures") -> None:
        generator = torch.Generator().manual_seed(seed)
        self.samples = [Sample(torch.rand(3, *size, generator=generator)) for _ in range(count)]
        self.name, self.heads, self.classes = name, {"depth": "depth"}, {"depth": ()}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


@pytest.fixture
def pictures() -> Pictures:
    return Pictures()


# for fine-tuning


def tiny(**options: Any) -> MultiTaskModel:
    """A random model of two dense blocks that all tasks share, then a routed attention and a routed MLP."""
    torch.manual_seed(0)
    backbone = {**CONFIG["backbone"], "attention_experts": 6, "drop_path": 0.1, **options}
    heads = {
        "classification.pets": {"task": "classification", "classes": ("cat", "dog", "owl")},
        "segmentation.street": {"task": "segmentation", "classes": ("sky", "road"), "options": {"width": 16}},
    }
    return build_model({"backbone": backbone, "heads": heads, "max_side": 64})


@pytest.fixture
def model() -> MultiTaskModel:
    return tiny()


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imagefolder of two classes that colours tell apart, under train/ and val/."""
    root, rng = tmp_path_factory.mktemp("data") / "shapes", np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for k, name in enumerate(("red", "blue")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(60 + 120 * np.eye(3)[2 * k], 20, (48, 48, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture
def make_run(shapes: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Give a run that fine-tunes on `shapes`; keywords are fields of `finetune` and, with train_, of `train`."""

    def make(experts: str = "top:2", name: str = "run", **options: Any) -> RunConfig:
        train = {k.removeprefix("train_"): options.pop(k) for k in list(options) if k.startswith("train_")}
        part = {"source": f"imagefolder:{shapes}", "batch_size": 4, "shrink": [{"name": "resize", "size": 32}]}
        run = {
            "finetune": {"model": "tiny", "experts": experts, "usage_batches": 2, **options},
            "model": {"max_side": 32, "min_side": 32},
            "data": {"train": {"shapes": part}, "val": {"shapes": {"source": part["source"]}}},
            "optim": {"lr": 0.01, "weight_decay": 0.1},
            "train": {"steps": 3, "workers": 0, "device": "cpu", "progress": "none", **train},
            "out": str(tmp_path / name),
        }
        return from_mapping(RunConfig, run)

    return make
