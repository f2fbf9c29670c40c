"""A low-rank update beside a linear layer: unchanged at first, one matrix once merged."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visgen.errors import CheckpointError, ConfigError
from visgen.nn.low_rank import LowRankLinear, add_updates, fold_updates, trained_tensors


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


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(5, 24), nn.Linear(24, 16), nn.LayerNorm(16), nn.Unflatten(1, (16, 1, 1)),
                         nn.Conv2d(16, 12, 3, padding=1), nn.Flatten(), nn.Linear(12, 1))  # fmt: skip


def test_updates_of_a_network_start_at_nothing_and_fold_into_its_weights() -> None:
    model, plain, x = network(), network(), torch.arange(5)
    trained = add_updates(model, 2)
    assert torch.equal(model(x), plain(x))
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()
    changes = trained_tensors(model)
    assert trained == sum(value.numel() for value in changes.values())
    # matrices and kernels by updates, the small last one in full, vectors too; the embedding stays
    updated = {"1.weight", "4.weight"}
    assert {name for name in changes if name.endswith((".up", ".down"))} == {
        f"{name}.{part}" for name in updated for part in ("up", "down")
    }
    assert "6.weight" in changes and "0.weight" not in changes
    plain.load_state_dict(fold_updates({**before, **changes}))
    assert torch.allclose(plain(x), model(x), atol=1e-6) and not torch.allclose(plain(x), network()(x), atol=1e-2)
    difference = (plain.get_parameter("4.weight") - before["4.weight"]).flatten(1)
    assert torch.linalg.matrix_rank(difference.double(), atol=1e-5) == 2
    assert torch.equal(plain.get_parameter("0.weight"), before["0.weight"])


def test_what_is_no_update_is_refused() -> None:
    with pytest.raises(ConfigError, match="rank of the updates is 0"):
        add_updates(nn.Linear(4, 4), 0)
    weight, up, down = torch.zeros(4, 6), torch.zeros(4, 2), torch.zeros(2, 6)
    with pytest.raises(CheckpointError, match=r"'w.up' is no update: 'w', 'w.up' and 'w.down' go together"):
        fold_updates({"w": weight, "w.up": up})
    with pytest.raises(CheckpointError, match=r"'w.down' is no update"):
        fold_updates({"w.down": down, "w.up": up})
    with pytest.raises(CheckpointError, match=r"the update of 'w' is \(4, 5\), its weight \(4, 6\)"):
        fold_updates({"w": weight, "w.up": up, "w.down": down[:, :5]})
