"""The proof that nothing else moved tells every way in which a tensor can differ."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from visgen.experts import FrozenPartMoved, check_movement, tensor_hashes


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def test_one_bit_is_a_movement() -> None:
    module = network()
    before = tensor_hashes(module)
    assert set(before) == {n for n, _ in [*module.named_parameters(), *module.named_buffers()]}
    assert tensor_hashes(module) == before
    with torch.no_grad():
        module[0].weight[1, 2] = torch.nextafter(module[0].weight[1, 2], torch.tensor(9.0))
    assert [n for n, h in tensor_hashes(module).items() if h != before[n]] == ["0.weight"]


def test_minus_zero_another_shape_and_another_dtype_are_other_tensors() -> None:
    module = nn.Module()
    hashes = set()
    for value in (
        torch.zeros(4),
        -torch.zeros(4),
        torch.zeros(2, 2),
        torch.zeros(4, dtype=torch.int32),
        torch.tensor(0.0),
    ):
        module.register_buffer("x", value)
        hashes.add(tensor_hashes(module)["x"])
    assert len(hashes) == 5


def test_an_announced_training_passes_and_names_what_moved() -> None:
    module = network()
    before = tensor_hashes(module)
    with torch.no_grad():
        module[2].weight.add_(1)
    report = check_movement(before, tensor_hashes(module), ["2.weight", "2.bias"])
    assert (report.moved, report.unmoved, report.frozen) == (("2.weight",), ("2.bias",), len(before) - 2)
    again = check_movement(before, before, ["2.weight", "2.bias"])
    assert again.frozen_hash == report.frozen_hash and len(report.frozen_hash) == 64


def test_a_moved_statistic_and_a_lost_tensor_are_refused() -> None:
    module = network()
    before = tensor_hashes(module)
    module.train()
    module(torch.randn(8, 4))
    with pytest.raises(FrozenPartMoved, match=r"changed 3 tensors .*: 1\.num_batches_tracked, 1\.running_mean"):
        check_movement(before, tensor_hashes(module), ["2.weight"])
    with pytest.raises(FrozenPartMoved, match=r"changed 1 tensors .*: 2\.bias"):
        check_movement(before, {n: h for n, h in before.items() if n != "2.bias"}, [])
