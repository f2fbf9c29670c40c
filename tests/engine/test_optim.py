"""Parameter groups, the schedule and clipping against values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from visgen.config import OptimConfig
from visgen.engine.optim import build_optimiser, clip_gradients, learning_rate_factor, set_learning_rate, train_only
from visgen.errors import ConfigError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.norm = nn.LayerNorm([4, 2])  # two axes, still a norm
        self.position = nn.Parameter(torch.ones(2, 4))
        self.expert_bias = nn.Parameter(torch.ones(3, 4))  # two axes, still a bias
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def no_weight_decay(self) -> set[str]:
        return {"position"}


def groups_of(optimiser: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    return {name: (g["lr_scale"], g["weight_decay"]) for g in optimiser.param_groups for name in g["names"]}


def test_decay_and_rates_reach_the_right_parameters() -> None:
    net = Net()
    config = OptimConfig(weight_decay=0.1, lr_scales={"stem": 0.1, "stem.bias": 0.5})
    head = {"params": net.head.parameters(), "lr_scale": 2.0, "weight_decay": 0.3}
    rest = [p for name, p in net.named_parameters() if not name.startswith("head")]
    found = groups_of(build_optimiser(net, [{"params": rest}, head], config))
    assert found == {
        "stem.weight": (0.1, 0.1),
        "stem.bias": (0.5, 0.0),
        "norm.weight": (1.0, 0.0),
        "norm.bias": (1.0, 0.0),
        "position": (1.0, 0.0),
        "expert_bias": (1.0, 0.0),
        "head.weight": (2.0, 0.3),
        "head.bias": (2.0, 0.3),
    }


def test_a_key_fits_whole_words_anywhere_in_a_name() -> None:
    outer = nn.ModuleDict({"model": Net()})
    found = groups_of(build_optimiser(outer, [{"params": outer.parameters()}], OptimConfig(lr_scales={"stem": 0.1})))
    assert found["model.stem.weight"][0] == 0.1 and found["model.head.weight"][0] == 1.0
    assert found["model.position"][1] == 0.0 < found["model.head.weight"][1]  # a module inside says what never decays
    with pytest.raises(
        ConfigError, match=r"lr_scales names 'ste', which stands in no parameter .*did you mean 'stem'\?"
    ):
        build_optimiser(outer, [{"params": outer.parameters()}], OptimConfig(lr_scales={"ste": 0.1}))


def test_groups_that_cannot_be_trained_are_told() -> None:
    net = Net()
    with pytest.raises(ConfigError, match="'head.weight' is in two groups"):
        build_optimiser(net, [{"params": net.head.parameters()}, {"params": net.head.parameters()}], OptimConfig())
    with pytest.raises(
        ConfigError, match=r"a parameter of shape \(5,\) is in a phase but not in the objective's module"
    ):
        build_optimiser(net, [{"params": [nn.Parameter(torch.ones(5))]}], OptimConfig())
    with pytest.raises(ConfigError, match="no parameter that needs a gradient"):
        build_optimiser(net, [{"params": net.frozen.parameters()}], OptimConfig())


def test_the_first_step_is_adamw_by_hand() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 2.0)
    optimiser = build_optimiser(
        net, [{"params": net.parameters(), "lr_scale": 0.5}], OptimConfig(lr=1.0, weight_decay=0.1)
    )
    set_learning_rate(optimiser, 0.2)
    net.weight.grad = torch.tensor([[-3.0]])
    optimiser.step()
    # Rate 0.2 * 0.5 = 0.1: decay takes 0.1 * 0.1 * 2 = 0.02, then the first Adam step is the rate times the sign.
    assert net.weight.item() == pytest.approx(2.0 - 0.02 + 0.1, abs=1e-6)


def test_the_schedule_at_its_corners() -> None:
    config = OptimConfig(warmup_steps=4, min_lr_ratio=0.2)
    found = [learning_rate_factor(step, 14, config) for step in range(14)]
    assert found[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert found[9] == pytest.approx(0.6)  # half way down
    assert found[13] == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * 0.9)))
    assert all(a >= b for a, b in zip(found[4:], found[5:], strict=False))
    assert learning_rate_factor(99, 14, config) == pytest.approx(0.2)
    flat = OptimConfig(warmup_steps=2, schedule="constant")
    assert [learning_rate_factor(step, 5, flat) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_clipping_keeps_the_direction_and_measures_before() -> None:
    a, b, absent = (nn.Parameter(torch.zeros(n)) for n in (1, 2, 3))
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([0.0, 4.0])
    assert clip_gradients([a, b, absent], 1.0).item() == 5.0
    torch.testing.assert_close(a.grad, torch.tensor([0.6]))
    torch.testing.assert_close(b.grad, torch.tensor([0.0, 0.8]))
    assert absent.grad is None
    assert clip_gradients([a, b], 2.0).item() == pytest.approx(1.0) and a.grad.item() == pytest.approx(0.6)
    assert clip_gradients([a, b], None).item() == pytest.approx(1.0)
    assert clip_gradients([absent], 1.0).item() == 0.0


def test_a_norm_that_is_not_finite_changes_no_gradient() -> None:
    a = nn.Parameter(torch.zeros(2))
    a.grad = torch.tensor([float("inf"), 1.0])
    assert math.isinf(clip_gradients([a], 1.0).item())
    assert a.grad.tolist() == [float("inf"), 1.0]


def test_only_the_named_parts_train() -> None:
    outer = nn.ModuleDict({"model": Net()})
    train_only(outer, ["head"])
    assert [name for name, p in outer.named_parameters() if p.requires_grad] == ["model.head.weight", "model.head.bias"]
    found = groups_of(build_optimiser(outer, [{"params": outer.parameters()}], OptimConfig(weight_decay=0.1)))
    assert found == {"model.head.weight": (1.0, 0.1), "model.head.bias": (1.0, 0.0)}


def test_without_names_everything_trains_that_trained_before() -> None:
    net = Net()
    before = [p.requires_grad for p in net.parameters()]
    train_only(net, [])
    assert [p.requires_grad for p in net.parameters()] == before and not all(before)


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"optim.only names 'haed', which stands in no .*did you mean 'head'\?"):
        train_only(Net(), ["haed"])
