"""Splitting a model's banks: the model answers the same, saves and loads, and only the chosen experts can move."""

from dataclasses import replace

import pytest
import torch

from visgen.errors import ConfigError, UnknownName
from visgen.experts import expert_banks, find_route, join_experts, split_experts
from visgen.zoo import from_pretrained, save_pretrained


@torch.no_grad()
def test_a_split_model_answers_the_same_also_after_a_reload(tiny_model, images, tmp_path):
    names = set(tiny_model.state_dict())
    before = {h: tiny_model(images, h)[0] for h in tiny_model.specs}
    parts = split_experts(tiny_model, {"blocks.2.attn": [0, 3], "blocks.3.mlp": [1]})
    assert [len(p) for p in parts["blocks.2.attn"]] == [2, 2] and [len(p) for p in parts["blocks.3.mlp"]] == [1] * 4
    again = from_pretrained(save_pretrained(tiny_model, tmp_path / "split"))
    assert again.config() == tiny_model.config()
    assert expert_banks(again)["blocks.3.mlp"].part_experts(1) == (1,)
    for model in (tiny_model, again):
        assert all(torch.equal(model(images, h)[0], y) for h, y in before.items())
    join_experts(again)
    assert set(again.state_dict()) == names and "banks" not in save_config(again)
    assert all(torch.equal(again(images, h)[0], y) for h, y in before.items())


def test_a_head_on_the_router_of_another_task_means_that_router(tiny_model):
    tiny_model.specs["depth"] = replace(tiny_model.specs["depth"], route="segmentation")
    assert find_route(tiny_model, "depth") == "segmentation"
    tiny_model.specs["segmentation.y"] = replace(tiny_model.specs["segmentation.y"], route="depth")
    assert [find_route(tiny_model, name) for name in ("depth", "segmentation", "segmentation.y")] == [
        "depth", "segmentation", "depth"]  # fmt: skip
    routes = [find_route(tiny_model, name) for name in ("depth", "segmentation.y", "classification")]
    assert routes == [find_route(tiny_model, name) for name in routes]


def save_config(model):
    return {k: v for k, v in model.config()["backbone"].items() if v is not None}


def test_wrong_layers_experts_and_names_are_refused(tiny_model):
    with pytest.raises(UnknownName, match="layer 'blocks.3.mpl' is not routed.*blocks.3.mlp"):
        split_experts(tiny_model, {"blocks.3.mpl": [0]})
    with pytest.raises(ConfigError, match=r"experts \[6\] cannot be split off a bank of 6"):
        split_experts(tiny_model, {"blocks.3.mlp": [6]})
    with pytest.raises(UnknownName, match="'dpeth' is no task or head.*did you mean 'depth'"):
        find_route(tiny_model, "dpeth")
    assert find_route(tiny_model, "classification.x") == find_route(tiny_model, "classification") == "classification"
    with pytest.raises(ConfigError, match="routes nothing"):
        expert_banks(torch.nn.Linear(1, 1))
