"""Low-rank updates of a model: where they go, what they cost, and that merging keeps the function."""

from __future__ import annotations

import torch
from torch import nn

from visgen.experts.lora import add_low_rank, low_rank_parameters, merge_low_rank, rank_for
from visgen.nn.low_rank import LowRankLinear
from visgen.task import MultiTaskModel


def test_every_dense_layer_of_the_blocks_and_no_router_gets_one(model: MultiTaskModel) -> None:
    names = add_low_rank(model, 2)
    inside = [n for n, m in model.named_modules() if isinstance(m, LowRankLinear)]
    assert sorted(names) == sorted(inside)
    assert "backbone.blocks.2.attn.kv" in names and "backbone.blocks.0.mlp.fc1" in names
    assert not [n for n in names if "router" in n or "heads" in n]
    rest = [n for n, m in model.backbone.blocks.named_modules() if type(m) is nn.Linear]
    assert rest == []


def test_the_count_is_that_of_the_parameters_added(model: MultiTaskModel) -> None:
    before = sum(p.numel() for p in model.parameters())
    for rank in (1, 5, 40):  # 40 is more than some layers can take
        fresh = low_rank_parameters(model, rank)
        assert rank_for(model, fresh) == min(rank, 32)
        assert rank_for(model, fresh - 1) == min(rank, 32) - 1 or rank == 1
    wanted = low_rank_parameters(model, 3)
    add_low_rank(model, 3)
    assert sum(p.numel() for p in model.parameters()) - before == wanted


def test_merging_keeps_the_function_and_the_structure(model: MultiTaskModel) -> None:
    model.eval()
    structure = {n: p.shape for n, p in model.named_parameters()}
    images = torch.rand(2, 3, 32, 48)
    wanted = model(images, "classification.pets")[0]
    add_low_rank(model, 3)
    assert torch.equal(model(images, "classification.pets")[0], wanted)
    for module in model.modules():
        if isinstance(module, LowRankLinear):
            nn.init.normal_(module.up, std=0.1)
    tuned = model(images, "classification.pets")[0]
    assert not torch.allclose(tuned, wanted, atol=1e-3)
    assert merge_low_rank(model) == 13
    assert {n: p.shape for n, p in model.named_parameters()} == structure
    assert torch.allclose(model(images, "classification.pets")[0], tuned, atol=1e-5)
