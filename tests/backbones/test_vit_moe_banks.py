"""A ViTMoE whose tasks see banks differently: separate problems, one batch, one configuration."""

from dataclasses import replace

import pytest
import torch

from visgen.backbones.describe import active_parameters
from visgen.backbones.vit_moe import ViTMoE
from visgen.nn.route import Route

SMALL = {"width": 16, "heads": 2, "depth": 2, "num_experts": 6, "top_k": 2, "attention_experts": 5}


@pytest.fixture
def model():
    torch.manual_seed(0)
    built = ViTMoE(tasks=("a", "b"), **SMALL).eval()
    for bank in built.banks.values():  # scores far apart, so that no rounding turns a choice
        for router in bank.router.tasks.values():
            torch.nn.init.normal_(router.weight)
    return built


def grown(model):
    for bank in model.banks.values():
        bank.append(bank.new_experts(2))
    model.add_task("c")
    return model.eval()


@torch.no_grad()
def test_old_tasks_are_the_same_problem_alone_and_in_a_batch_of_all(model):
    images = torch.rand(2, 3, 64, 96)
    alone = {t: model(images, t) for t in "ab"}
    both = model.suffixes(model.prefix(images), ("a", "b"))
    grown(model)
    three = model.suffixes(model.prefix(images), ("c", "a", "b"))
    for t in "ab":
        again = model(images, t)
        for s in (4, 8, 16, 32):
            assert torch.equal(again.pyramid[s], alone[t].pyramid[s])
            assert torch.equal(three[t].pyramid[s], both[t].pyramid[s])
        assert torch.equal(three[t].token, both[t].token)
    torch.testing.assert_close(three["c"].token, model(images, "c").token, rtol=1e-4, atol=1e-5)


def test_a_mixed_batch_gives_features_statistics_and_gradients_of_each_task(model):
    grown(model)
    images, task = torch.rand(4, 3, 64, 64), torch.tensor([2, 0, 2, 1])
    mixed = model(images, task, collect=True)
    for layer, found in zip(model.routed_layers, mixed.extras["routing"], strict=True):
        assert found["task"].tolist() == [0, 1, 2] and found["image_task"].tolist() == task.tolist()
        assert found["probabilities"].shape == (3, layer.num_experts)
        assert found["probabilities"][:2, -2:].abs().sum() == 0  # old tasks do not see the new experts
        torch.testing.assert_close(found["probabilities"].sum(1), found["rows"])
    for i, t in enumerate("cacb"):
        one = model(images[i : i + 1], t, collect=True)
        torch.testing.assert_close(mixed.token[i], one.token[0], rtol=1e-4, atol=1e-5)
        for whole, part in zip(mixed.extras["routing"], one.extras["routing"], strict=True):
            assert torch.equal(whole["experts"][i], part["experts"][0])
    mixed.token.sum().backward()
    assert all(r.weight.grad is not None for b in model.banks.values() for r in b.router.tasks.values())


@torch.no_grad()
def test_the_configuration_rebuilds_a_changed_model(model):
    grown(model)
    bank = model.banks["blocks.1.mlp"]
    bank.split([1, 7])
    bank.router.set_route("a", replace(bank.router.route("a"), top_k=1, deny=(0,)))
    changes = model.changes()
    assert changes["tasks"] == ["a", "b", "c"] and changes["banks"]["blocks.0.attn"]["parts"] == [5, 2]
    twin = ViTMoE(**{**SMALL, **changes}).eval()
    twin.load_state_dict(model.state_dict())
    assert twin.config == model.config and twin.changes() == changes
    images = torch.rand(1, 3, 64, 64)
    assert all(torch.equal(twin(images, t).token, model(images, t).token) for t in "abc")


def test_a_plain_model_reports_no_change(model):
    assert model.changes() == {"tasks": ["a", "b"]} and model.config.banks is None


def test_active_parameters_follow_the_route(model):
    full = active_parameters(model, "a")
    bank = model.banks["blocks.1.mlp"]
    bank.router.set_route("a", Route(top_k=1))
    one = 2 * 16 * bank.hidden + bank.hidden + 16
    assert active_parameters(model, "a") == full - one and active_parameters(model, "b") == full
