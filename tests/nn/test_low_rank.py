"""A low-rank update beside a linear layer: unchanged at first, one matrix once merged."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visgen.errors import ConfigError
from visgen.nn.low_rank import LowRankLinear


def test_the_update_is_the_product_of_its_two_sides() -> None:
    linear = nn.Linear(3, 2)
    layer = LowRankLinear(linear, 1, scale=2.0)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        linear.bias.copy_(torch.tensor([10.0, 20.0]))
        layer.down.copy_(torch.tensor([[0.0, 0.0, 1.0]]))
        layer.up.copy_(torch.tensor([[1.0], [3.0]]))
    # W x + b = (11, 22); D x = 3, so the update is 2 / 1 * (3, 9)
    assert layer(torch.tensor([1.0, 2.0, 3.0])).tolist() == [17.0, 40.0]


@pytest.mark.parametrize("bias", [True, False])
def test_it_starts_as_the_layer_and_merges_into_one(bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(16, 12, bias=bias), torch.randn(5, 16)
    layer = LowRankLinear(linear, 4)
    assert torch.equal(layer(x), linear(x))
    assert layer.weight is linear.weight and set(dict(layer.named_parameters())) >= {"weight", "down", "up"}
    nn.init.normal_(layer.up)
    plain = layer.merged()
    assert type(plain) is nn.Linear and (plain.bias is None) == (not bias)
    assert not torch.allclose(plain(x), linear(x), atol=1e-2)
    assert torch.allclose(plain(x), layer(x), atol=1e-5)
    assert torch.linalg.matrix_rank((plain.weight - linear.weight).double(), atol=1e-5) == 4


@pytest.mark.parametrize("rank", [0, 13])
def test_a_rank_out_of_range_is_refused(rank: int) -> None:
    with pytest.raises(ConfigError, match=rf"rank is {rank} but the layer maps 16 to 12; use 1\.\.12"):
        LowRankLinear(nn.Linear(16, 12), rank)
