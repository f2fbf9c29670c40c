"""A new task beside old ones: the old ones answer the same to the last bit, whatever the new one learns."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from visgen.errors import ConfigError
from visgen.experts import (
    add_task,
    check_movement,
    collect_expert_stats,
    expert_banks,
    set_trainable,
    tensor_hashes,
)
from visgen.task import HeadSpec
from visgen.zoo import from_pretrained, save_pretrained

from .conftest import Pictures, make_model

NEW = HeadSpec("classification", ("p", "q"), options={"dropout": 0.2})


def answers(model, images, heads):
    with torch.no_grad():
        return {head: model(images, head)[0] for head in heads}


def together(model, images, tasks):
    with torch.no_grad():
        found = model.backbone.suffixes(model.backbone.prefix(images), tasks)
    return {task: torch.cat([found[task].token.flatten(), found[task].pyramid[16].flatten()]) for task in tasks}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def train(model, head, steps=50, lr=1e-2):
    """AdamW with decoupled decay and momentum, dropout and clipping, on two classes that can be told apart."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.1)
    generator = torch.Generator().manual_seed(2)
    labels = torch.tensor([0, 1] * 2)
    model.train()
    for _ in range(steps):
        x = torch.rand(4, 3, 32, 32, generator=generator) * torch.tensor([0.4, 1.0] * 2).view(4, 1, 1, 1)
        loss = torch.nn.functional.cross_entropy(model(x, head)[0], labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    model.eval()
    return optimizer, float(loss)


@pytest.mark.parametrize("init", ["copy_top", "random", "mean"])
def test_old_tasks_stay_equal_through_adding_and_training(tiny_model, images, init):
    model, old = tiny_model, list(tiny_model.specs)
    usage = collect_expert_stats(model, {"classification": Pictures(2)})
    before, mixed = answers(model, images, old), together(model, images, model.backbone.tasks)
    report = add_task(model, "classification.new", NEW, new_experts=2, init=init, usage=usage)
    assert report.route == "classification_new" and {len(e) for e in report.experts.values()} == {2}
    assert equal(answers(model, images, old), before)
    hashes = tensor_hashes(model)
    optimizer, loss = train(model, "classification.new")
    assert loss < 0.6  # two classes start at 0.69
    moved = check_movement(hashes, tensor_hashes(model), report.trainable)
    assert all(name.endswith((".b1", ".b2")) for name in moved.unmoved)  # biases of an expert that no token met
    trained = {id(p) for p in optimizer.state}
    assert all(p.requires_grad == (id(p) in trained) for p in model.parameters())
    assert equal(answers(model, images, old), before)
    everything = together(model, images, ("classification_new", *mixed))
    assert all(torch.equal(everything[task], mixed[task]) for task in mixed)
    with torch.no_grad():
        routing = model.backbone(images, "classification_new", collect=True).extras["routing"]
    assert sum(float(one["selected"][0, -2:].sum()) for one in routing) > 0 or init != "copy_top"


def test_a_masked_gradient_fails_the_same_test(tiny_model, images):
    """The control: one tensor for old and new experts, gradients of the old ones set to zero."""
    model = tiny_model
    usage = collect_expert_stats(model, {"classification": Pictures(2)})
    before = answers(model, images, ["classification.x"])
    report = add_task(model, "classification.new", NEW, new_experts=2, usage=usage)
    for bank in expert_banks(model).values():
        count = bank.router.num_experts - 2
        bank.join()
        for p in bank.part(0).values():
            p.requires_grad_(True)
            p.register_hook(lambda g, n=count: torch.cat([torch.zeros_like(g[:n]), g[n:]]))
    assert equal(answers(model, images, ["classification.x"]), before)
    hashes = {n: {k: v.clone() for k, v in b.expert_tensors(range(5)).items()} for n, b in expert_banks(model).items()}
    train(model, report.head, steps=5)
    assert not equal(answers(model, images, ["classification.x"]), before)
    for name, bank in expert_banks(model).items():
        assert any(not torch.equal(v, hashes[name][k]) for k, v in bank.expert_tensors(range(5)).items())


def test_what_a_new_task_starts_from():
    model = make_model()
    usage = {name: [0.0] * 4 + [1.0] * (b.router.num_experts - 4) for name, b in expert_banks(model).items()}
    add_task(model, "classification.c", NEW, new_experts=1, usage=usage)
    bank = expert_banks(model)["blocks.3.mlp"]
    assert bank.part_experts(1) == (6,)
    assert all(torch.equal(bank.expert_tensors([6])[k], v) for k, v in bank.expert_tensors([4]).items())
    old, new = bank.router.tasks["classification"].weight, bank.router.tasks["classification_c"].weight
    assert torch.equal(new[:6], old) and 0 < float((new[6] - old[4]).abs().max()) < 0.2
    embedding = model.backbone.task_embedding
    assert torch.equal(embedding["classification_c"], embedding["classification"])
    add_task(model, "depth.m", HeadSpec("depth", options={"width": 16}), init="mean", new_experts=1, router_init="mean")
    mean = {k: v.mean(0) for k, v in bank.expert_tensors(range(7)).items()}
    for key, value in bank.expert_tensors([7]).items():
        torch.testing.assert_close(value[0], mean[key])
    rows = [r.weight[2] for t, r in bank.router.tasks.items() if t != "depth_m"]
    torch.testing.assert_close(bank.router.tasks["depth_m"].weight[2], torch.stack(rows).mean(0))
    torch.testing.assert_close(bank.router.tasks["depth_m"].weight[6], new[6])  # the one task that scores it
    state = torch.get_rng_state()
    a, b = make_model(), make_model()
    torch.set_rng_state(state)
    for m in (a, b):
        add_task(m, "classification.c", NEW, new_experts=1, init="random", router_init="random", seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


CHECK = """
import sys, torch
from visgen.zoo import from_pretrained
torch.set_num_threads(1)
model, kept = from_pretrained(sys.argv[1]), torch.load(sys.argv[2])
with torch.no_grad():
    for head, y in kept["answers"].items():
        assert torch.equal(model(kept["images"], head)[0], y), head
print(",".join(model.backbone.tasks))
"""


def test_it_starts_from_the_router_that_the_heads_of_the_task_take(tiny_model, images):
    tiny_model.set_route("segmentation.y", "depth")
    before = together(tiny_model, images, ["depth"])["depth"]
    spec = HeadSpec("segmentation", ("u", "v"), options={"width": 16})
    add_task(tiny_model, "segmentation.z", spec, usage=collect_expert_stats(tiny_model, {"segmentation": Pictures(2)}))
    assert torch.equal(together(tiny_model, images, ["segmentation_z"])["segmentation_z"], before)


def test_three_tasks_in_sequence_are_not_forgotten_also_in_a_new_process(tiny_model, images, tmp_path):
    model = tiny_model
    kept = answers(model, images, list(model.specs))
    for i in range(3):
        head = f"classification.n{i}"
        usage = collect_expert_stats(model, {"classification": Pictures(1)})
        add_task(model, head, NEW, new_experts=1, usage=usage, seed=i)
        train(model, head, steps=8)
        assert equal(answers(model, images, list(kept)), kept)
        kept |= answers(model, images, [head])
    folder = save_pretrained(model, tmp_path / "grown")
    again = from_pretrained(folder)
    assert again.config() == model.config() and equal(answers(again, images, list(kept)), kept)
    torch.save({"images": images, "answers": kept}, tmp_path / "kept.pt")
    words = [sys.executable, "-c", CHECK, str(folder), str(tmp_path / "kept.pt")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("classification_n0,classification_n1,classification_n2")


def test_it_goes_on_with_set_trainable(tiny_model):
    usage = collect_expert_stats(tiny_model, {"classification": Pictures(1)})
    report = add_task(tiny_model, "classification.new", NEW, new_experts=2, usage=usage)
    again = set_trainable(tiny_model, "classification.new", "new:2")
    assert set(again.all_names) == set(report.trainable) and again.trained == sum(report.parameters.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "depth"}, "head 'depth' is in the model already"),
        ({"head": "depth.x"}, "head 'depth.x' has task 'classification'"),
        ({"init": "copy_topp"}, "init 'copy_topp' is unknown.*did you mean 'copy_top'"),
        ({"router_init": "zero"}, "router_init 'zero' is unknown"),
        ({"new_experts": -1}, "new_experts is -1"),
        ({"new_experts": 1}, "usage is missing"),
        ({"spec": HeadSpec("classification")}, "head 'classification.new' has no classes; name them"),
        ({"route": "depth"}, "router 'depth' is in the model already"),
        ({"spec": HeadSpec("detection", ("p",)), "head": "detection.x"}, "task 'detection' is not routed"),
    ],
)
def test_wrong_requests_are_refused_and_leave_the_model_alone(tiny_model, change, message):
    config, names = tiny_model.config(), set(tiny_model.state_dict())
    given = {"head": "classification.new", "spec": NEW, **change}
    with pytest.raises(ConfigError, match=message):
        add_task(tiny_model, given.pop("head"), given.pop("spec"), **given)
    assert tiny_model.config() == config and set(tiny_model.state_dict()) == names
