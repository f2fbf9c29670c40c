"""Three answers beside a constant, on two town scenes with small random models."""

from __future__ import annotations

import pytest
import torch

from visgen.data import build_source
from visgen.diffusion import TinyConfig, build_tiny
from visgen.engine.instruct_compare import answer_costs, compare_answers, constant_answer
from visgen.errors import ConfigError
from visgen.task import build_model
from visgen.task.drawn import DrawnModel
from visgen.task.protocol import HeadSpec


class Named:
    """A town source under the head names of the comparison."""

    def __init__(self, task: str, head: str, count: int) -> None:
        self.source = build_source(f"town:street?size=48x64&count={count}", tasks=task)
        self.name, self.heads = head, {task: head}
        self.classes = {task: self.source.classes[task]}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index):
        return self.source[index]


def test_every_answer_has_the_same_figures():
    torch.manual_seed(0)
    heads = {"depth": {"task": "depth"}}
    small = {"name": "vit_moe", "width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2}
    small |= {"attention_experts": 4, "tasks": ("segmentation", "depth")}
    experts = build_model({"backbone": small, "heads": heads, "max_side": 96}).eval()
    sizes = TinyConfig(size=32, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8), unet_groups=4, text_width=8,
                       text_layers=1, text_heads=2, tokens=40, vocabulary=600)  # fmt: skip
    drawing = build_tiny(["segment the road", "how far is everything"], sizes).eval()
    sets = {"segmentation.camvid": Named("segmentation", "segmentation.camvid", 3), "depth": Named("depth", "depth", 3)}
    found = compare_answers(experts, drawing, sets, sets, steps=2, batch_size=2, size=(48, 64), seeds=(0, 1))
    assert set(found) == {"experts and heads", "diffusion features and heads", "picture", "constant"}
    for name, row in found.items():
        assert set(row) == {"mIoU", "IoU/road", "AbsRel"}, name
    assert found["experts and heads"]["mIoU"]["n"] == 2
    assert found["constant"]["mIoU"] > 0
    runs = []
    names = sets["segmentation.camvid"].classes["segmentation"]

    def clock(cases):
        runs.extend(run() for run in cases.values())
        return {key: [2.0, 1.0, 9.0] for key in cases}

    costs = answer_costs(experts, drawing, names, clock, size=(48, 64))
    assert {name: row["median_ms"] for name, row in costs.items()} == dict.fromkeys(found.keys() - {"constant"}, 2000.0)
    assert [run["depth"][0].size for run in runs] == [(240, 320)] * 3
    assert costs["picture"]["parameters"] == sum(p.numel() for p in drawing.parameters())


def test_a_constant_is_the_most_frequent_class_at_each_place():
    value = constant_answer(Named("segmentation", "segmentation.camvid", 1), "segmentation")
    truth = Named("segmentation", "x", 1)[0].targets["segmentation"]
    known = truth.ids != 255
    assert torch.equal(value.ids[known], truth.ids[known])
    depth = constant_answer(Named("depth", "depth", 1), "depth")
    metres = Named("depth", "depth", 1)[0].targets["depth"].metres
    assert torch.allclose(depth.metres[metres > 0], metres[metres > 0])


def test_other_tasks_are_not_drawn_as_heads():
    with pytest.raises(ConfigError, match="is of task 'detection'"):
        DrawnModel(None, {"detection": HeadSpec("detection", ("cat",))})  # type: ignore[arg-type]
