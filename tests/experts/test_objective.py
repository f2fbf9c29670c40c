"""Frozen parts hold still: no dropout and no batch statistics in them while the rest trains."""

from __future__ import annotations

import torch
from torch import nn

from visgen.experts.objective import hold_still


def network() -> nn.Module:
    frozen = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    plain = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Dropout(0.5))
    trained = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), plain)
    module = nn.Sequential(frozen, trained)
    frozen.requires_grad_(False)
    return module


def test_only_what_trains_is_in_training_mode() -> None:
    module = network().train()
    hold_still(module)
    assert not any(m.training for m in module[0].modules())
    trained, norm, dropout, plain = module[1]
    assert trained.training and norm.training and dropout.training and module[1].training
    assert not plain[0].training, "statistics without a trained parameter stay"
    assert plain[1].training, "dropout goes with the part that it is in"


def test_the_statistics_of_a_frozen_part_stay_and_those_of_a_trained_one_move() -> None:
    module = network()
    before = {n: b.clone() for n, b in module.named_buffers()}
    for _ in range(3):
        module.train()
        hold_still(module)
        module(torch.randn(8, 4) + 5)
    moved = {n for n, b in module.named_buffers() if not torch.equal(b, before[n])}
    assert moved == {"1.1.running_mean", "1.1.running_var", "1.1.num_batches_tracked"}


def test_a_module_that_is_used_stays_in_evaluation_mode() -> None:
    module = network().eval()
    hold_still(module)
    assert not any(m.training for m in module.modules())
