"""The moving average against its formula, and against timm's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visgen.engine import MovingAverage


def test_values_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = MovingAverage(net, 0.9, warmup=False)
    for value, expected in ((1.0, 0.1), (1.0, 0.19), (2.0, 0.371)):
        nn.init.constant_(net.weight, value)
        average.update(net)
        assert average.module.weight.item() == pytest.approx(expected)
    assert average.updates == 3 and not average.module.training and not average.module.weight.requires_grad


def test_a_tensor_under_two_names_moves_once() -> None:
    net = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])
    net[1].weight = net[0].weight
    nn.init.zeros_(net[0].weight)
    average = MovingAverage(net, 0.9, warmup=False)
    nn.init.ones_(net[0].weight)
    average.update(net)
    assert [part.weight.item() for part in average.module] == pytest.approx([0.1, 0.1])


def test_the_warm_up_forgets_the_first_weights_soon() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = MovingAverage(net, 0.999)
    nn.init.ones_(net.weight)
    average.update(net)
    assert average.module.weight.item() == pytest.approx(1 - 2 / 11)  # decay (1 + 1) / (10 + 1)


def test_whole_number_buffers_are_copied_and_float_ones_averaged() -> None:
    net = nn.BatchNorm1d(1)
    average = MovingAverage(net, 0.5, warmup=False)
    net.num_batches_tracked += 7
    net.running_mean += 4.0
    average.update(net)
    assert average.module.num_batches_tracked.item() == 7 and average.module.running_mean.item() == 2.0


def test_agrees_with_timm() -> None:
    timm_utils = pytest.importorskip("timm.utils")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    ours, theirs = MovingAverage(net, 0.97, warmup=False), timm_utils.ModelEmaV3(net, decay=0.97)
    for _ in range(20):
        with torch.no_grad():
            for tensor in (*net.parameters(), net[1].running_mean):
                tensor += torch.randn_like(tensor)
        ours.update(net)
        theirs.update(net)
    for name, tensor in ours.module.state_dict().items():
        torch.testing.assert_close(tensor, theirs.module.state_dict()[name], rtol=1e-6, atol=1e-6)
