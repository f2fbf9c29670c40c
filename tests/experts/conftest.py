"""A small model with everything the experts' functions touch: a prefix, both kinds of routed layers, three tasks."""

from __future__ import annotations

import pytest
import torch

from visgen.data import Sample
from visgen.task import MultiTaskModel, build_model

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
