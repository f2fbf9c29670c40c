"""The averaged generator by half-life in images, and batch-norm statistics measured by sampling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visgen.errors import ConfigError
from visgen.gan import GeneratorAverage, measure_norm_statistics


def test_after_one_half_life_half_of_the_past_is_left() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    average = GeneratorAverage(layer, half_life=100, ramp_up=1e9)
    layer.weight.data.fill_(1.0)
    for _ in range(10):
        average.update(layer, 10)
    assert float(average.network.weight) == pytest.approx(0.5)
    assert int(average.seen) == 100


def test_the_ramp_shortens_the_half_life_at_first() -> None:
    layer = nn.Linear(1, 1)
    average = GeneratorAverage(layer, half_life=1000, ramp_up=0.05)
    assert average.update(layer, 64) == pytest.approx(0.5**20)  # half-life 3.2 images
    for _ in range(1000):
        kept = average.update(layer, 64)
    assert kept == pytest.approx(0.5 ** (64 / 1000))


def test_no_half_life_copies_and_buffers_are_copied() -> None:
    layer = nn.BatchNorm1d(2)
    average = GeneratorAverage(layer, half_life=50)
    layer(torch.randn(8, 2) + 3)
    average.update(layer, 1)
    assert torch.equal(average.network.running_mean, layer.running_mean)
    plain = GeneratorAverage(layer, half_life=0)
    layer.weight.data.fill_(7.0)
    plain.update(layer, 1)
    assert torch.equal(plain.network.weight, layer.weight)


def test_it_stays_in_evaluation_mode_and_wants_no_gradient() -> None:
    average = GeneratorAverage(nn.Linear(1, 1)).train()
    assert not average.training and not average.network.training
    assert not any(p.requires_grad for p in average.parameters())
    with pytest.raises(ConfigError, match="half_life is -1"):
        GeneratorAverage(nn.Linear(1, 1), half_life=-1)


def test_norm_statistics_become_the_mean_over_the_samples() -> None:
    network = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout(0.5)).eval()
    network[0].running_mean.fill_(100.0)
    batches = iter([torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [8.0]])])
    assert measure_norm_statistics(network, lambda: network(next(batches)), passes=2) == 1
    assert float(network[0].running_mean) == pytest.approx((1 + 6) / 2)
    assert float(network[0].running_var) == pytest.approx((2 + 8) / 2)  # unbiased variances
    assert not network[0].training and network[0].momentum == 0.1
    assert measure_norm_statistics(nn.Linear(1, 1), lambda: None) == 0
