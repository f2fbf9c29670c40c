"""The model that a fine-tuning run starts from: new heads, routers of their own, added experts."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError
from visgen.experts import add_experts, add_task, parse_selection, set_budget
from visgen.experts.heads import with_heads
from visgen.experts.start import heads_untouched, start_model
from visgen.task import HeadSpec, MultiTaskModel, build_model

USAGE = {"blocks.2.attn": [0.1, 0.5, 0.2, 0.7, 0.4, 0.1], "blocks.3.mlp": [0.9, 0.0, 0.3, 0.2, 0.6, 0.0]}
SPEC = HeadSpec("classification", ("a", "b"))


def logits(model: MultiTaskModel, head: str) -> torch.Tensor:
    images = torch.rand(2, 3, 48, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.eval()(images, head)[0]


@pytest.mark.parametrize(
    ("selection", "route"), [("head", None), ("lora:1", None), ("full", None), ("router", "classification_x")]
)
def test_a_head_gets_a_router_of_its_own_where_routers_train(
    model: MultiTaskModel, selection: str, route: str | None
) -> None:
    found = start_model(model, "classification.x", SPEC, parse_selection(selection), {}, True)
    assert found.specs["classification.x"].route == route and "classification.x" not in model.specs
    assert all(torch.equal(logits(found, head), logits(model, head)) for head in model.specs)


def test_a_router_of_its_own_starts_as_a_copy(model: MultiTaskModel) -> None:
    for options in ({}, {"noise": "learned", "router_hidden": 8}):
        config = model.config()
        torch.manual_seed(1)
        noisy = build_model({**config, "backbone": {**config["backbone"], **options}}).eval()
        found = start_model(noisy, "classification.x", SPEC, parse_selection("router"), {}, True).eval()
        images = torch.rand(2, 3, 32, 32)
        with torch.no_grad():
            own, shared = (found.backbone(images, t).token for t in ("classification_x", "classification"))
        assert torch.equal(own, shared)


def test_alone_it_brings_no_other_router(model: MultiTaskModel) -> None:
    found = start_model(model, "classification.x", SPEC, parse_selection("router"), {}, False, (96, 48))
    assert list(found.specs) == ["classification.x"] and found.backbone.tasks == ("classification_x",)
    assert (found.max_side, found.min_side) == (96, 48) == (found.config()["max_side"], found.config()["min_side"])
    assert found.resolve("classification") == "classification.x"
    assert sum(p.numel() for p in found.parameters()) < sum(p.numel() for p in model.parameters())


def test_a_head_with_the_same_classes_goes_on_from_its_weights(model: MultiTaskModel) -> None:
    name, known = "classification.pets", model.specs["classification.pets"]
    for selection, options in (("head", {}), ("router", dict(known.options)), ("full", {})):
        spec = HeadSpec("classification", known.classes, options=options)
        found = start_model(model, name, spec, parse_selection(selection), {}, False)
        assert torch.equal(logits(found, name), logits(model, name)), selection
    other = HeadSpec("classification", known.classes, options={"dropout": 0.5})
    fresh = start_model(model, name, other, parse_selection("head"), {}, False)
    assert not torch.equal(logits(fresh, name), logits(model, name)) and fresh.specs[name].options == {"dropout": 0.5}


def test_a_head_with_other_classes_is_replaced(model: MultiTaskModel) -> None:
    found = start_model(model, "classification.pets", SPEC, parse_selection("head"), {}, True)
    assert (
        found.specs["classification.pets"].classes == ("a", "b") and logits(found, "classification.pets").shape[1] == 2
    )
    assert torch.equal(logits(found, "segmentation.street"), logits(model, "segmentation.street"))
    alone = with_heads(model, ["classification.pets"])
    again = start_model(alone, "classification.pets", SPEC, parse_selection("router"), {}, False)
    assert list(again.specs) == ["classification.pets"]


def test_added_experts_are_copies_that_only_one_router_sees(model: MultiTaskModel) -> None:
    model.eval()
    before = {head: logits(model, head) for head in model.specs}
    tensors = {name: bank.expert_tensors([0, 4]) for name, bank in model.backbone.banks.items()}
    torch.manual_seed(0)
    add_experts(model, "classification", 2, USAGE)
    bank = model.backbone.banks["blocks.3.mlp"]
    assert bank.part_sizes == (6, 2) and bank.router.scores_of("classification") == 8
    assert bank.router.scores_of("segmentation") == 6
    for name, value in bank.expert_tensors([6, 7]).items():
        assert torch.equal(value, tensors["blocks.3.mlp"][name]), "copies of the two most used, 0 and 4"
    rows = bank.router.tasks["classification"].weight.detach()
    assert 0.01 < float((rows[6] - rows[0]).std()) < 0.04 and 0.01 < float((rows[7] - rows[4]).std()) < 0.04
    assert torch.equal(logits(model, "segmentation.street"), before["segmentation.street"])
    assert model.config()["backbone"]["banks"]["blocks.2.attn"]["parts"] == [6, 2]


@pytest.mark.parametrize("selection", ["head", "router", "full", "top:1"])
def test_a_head_goes_on_with_the_router_that_it_takes(model: MultiTaskModel, selection: str) -> None:
    street, known = "segmentation.street", model.specs["segmentation.street"]
    usage = {layer: [1.0, *[0.1] * 5] for layer in USAGE}
    model.set_route(street, "classification")
    before = logits(model, street)
    found = start_model(model, street, HeadSpec("segmentation", known.classes), parse_selection(selection), usage, True)
    assert torch.equal(logits(found, street), before)
    alike = HeadSpec("segmentation", ("a",), options={"width": 16})
    found = start_model(model, "segmentation.new", alike, parse_selection("head"), usage, True)
    assert found.route("segmentation.new") == "classification"  # as the other maps of the model


def test_a_router_that_no_other_head_takes_trains_itself(model: MultiTaskModel) -> None:
    torch.manual_seed(0)
    add_task(model, "classification.x", SPEC, new_experts=2, init="mean", router_init="copy")
    name, spec = "classification.x", HeadSpec("classification", SPEC.classes)
    for selection in ("router", "new:2"):
        found = start_model(model, name, spec, parse_selection(selection), USAGE, True)
        assert found.route(name) == "classification_x" and found.backbone.tasks == model.backbone.tasks
        assert {bank.router.num_experts for bank in found.backbone.banks.values()} == {8}
        assert torch.equal(logits(found, name), logits(model, name))
    more = {layer: [*shares, 0.0, 0.0] for layer, shares in USAGE.items()}
    found = start_model(model, name, spec, parse_selection("new:1"), more, True)
    assert {bank.router.num_experts for bank in found.backbone.banks.values()} == {9}


def test_added_experts_leave_a_budget_as_it_was(model: MultiTaskModel) -> None:
    set_budget(model, "classification", k=1)
    add_experts(model, "classification", 2, USAGE)
    assert {bank.router.route("classification").top_k for bank in model.backbone.banks.values()} == {1}


def test_what_cannot_start_is_told(model: MultiTaskModel) -> None:
    with pytest.raises(ConfigError, match=r"head 'depth' is of task 'depth', for which the model has no router"):
        start_model(model, "depth", HeadSpec("depth"), parse_selection("router"), {}, True)
    with pytest.raises(ConfigError, match=r"7 experts are to train but layer blocks\.2\.attn has 6"):
        add_experts(model, "classification", 7, USAGE)


def test_heads_that_share_what_trains_are_found(model: MultiTaskModel) -> None:
    model.requires_grad_(False)
    heads = list(model.specs)
    assert heads_untouched(model, heads) == heads
    model.head("segmentation.street").requires_grad_(True)
    assert heads_untouched(model, heads) == ["classification.pets"]
    model.backbone.banks["blocks.2.attn"].q.requires_grad_(True)
    assert heads_untouched(model, heads) == []
