"""A cut-out sub-network: equal to the bit where only unvisited experts go, and what it says of itself is so."""

from __future__ import annotations

import pytest
import torch

from visgen import pipeline
from visgen.errors import ConfigError, UnknownName
from visgen.experts import collect_expert_stats, expert_banks, extract_experts, extract_task
from visgen.experts.rules import magnitude_experts, random_experts, visited_experts
from visgen.zoo import from_pretrained, save_pretrained

from .conftest import Pictures, make_model
from .test_stats import made


def outputs(model, images, head):
    with torch.no_grad():
        return torch.cat([model(image[None], head)[0] for image in images])


@pytest.fixture
def narrow():
    """A model whose tasks visit three experts of each bank, as training makes them: the others have low scores."""

    def make(**backbone):
        model = make_model(**backbone)
        for bank in model.backbone.banks.values():
            for t, router in enumerate(bank.router.tasks.values()):
                with torch.no_grad():
                    router.bias.fill_(-50.0)
                    router.bias[[t, t + 1, t + 2]] = 0.0
        return model

    return make


@pytest.mark.parametrize("gate_norm", ["topk", "none"])
def test_without_unvisited_experts_nothing_changes(narrow, images, gate_norm):
    model = narrow(router_hidden=8, gate_norm=gate_norm)
    stats = collect_expert_stats(model, {task: Pictures(2) for task in model.backbone.tasks})
    for head in model.specs:
        before = outputs(model, images, head)
        part, report = extract_task(model, head, 0.0, stats=stats, probe=list(images))
        assert list(part.specs) == [head] and report.change == {head: 0.0}
        assert torch.equal(outputs(part, images, head), before)
        sizes = {name: len(kept) for name, kept in report.experts.items()}
        assert max(sizes.values()) <= 3 and report.dropped[model.route(head)] == dict.fromkeys(sizes, 0.0)
        sliced, said = extract_task(model, head, 0.0, stats=stats, exact=False, probe=list(images))
        router = expert_banks(sliced)["blocks.3.mlp"].router
        assert router.scores_of(model.route(head)) == router.num_experts and not len(router.views)
        torch.testing.assert_close(outputs(sliced, images, head), before, rtol=1e-4, atol=1e-5)
        assert 0 <= said.change[head] < 1e-4


def test_the_report_counts_what_is_there(narrow, images):
    model = narrow(router_hidden=8)
    stats = collect_expert_stats(model, {"depth": Pictures(2)})
    part, report = extract_task(model, "depth", stats=stats, exact=False, size=(64, 64))
    assert report.parameters["after"] == sum(p.numel() for p in part.parameters())
    assert report.parameters["before"] == sum(p.numel() for p in model.parameters())
    expert = {"attention": 2 * 16 * 32, "mlp": 2 * 32 * 64 + 64 + 32}
    gone = {n: report.banks[n] - len(report.experts[n]) for n in report.banks}
    kinds = {layer.name: layer.kind for layer in model.backbone.routed_layers}
    score = 8 + 1  # a row of the router's second layer and its bias
    less = sum(count * (expert[kinds[name]] + score) for name, count in gone.items())
    assert report.parameters["same_heads"] - report.parameters["after"] == less
    # 16 tokens; the router is all that shrinks, since an expert nobody visits costs nothing
    saved = report.flops["depth"]["before"] - report.flops["depth"]["after"]
    assert saved == 16 * 8 * sum(gone.values())


def test_dropping_a_visited_expert_moves_only_its_tokens(tiny_model, images):
    """In the first routed layer; whatever comes after it mixes tokens."""
    seen = {}

    def run(model):
        hook = model.backbone.banks["blocks.2.attn"].register_forward_hook(lambda m, i, out: seen.update(out=out))
        with torch.no_grad():
            model.backbone(images, "depth")
        hook.remove()
        return seen["out"]

    y, routing = run(tiny_model)
    lost = int(torch.bincount(routing.experts.flatten(), minlength=5).argmax())
    keep = {"blocks.2.attn": [e for e in range(5) if e != lost], "blocks.3.mlp": list(range(6))}
    z, _ = run(extract_experts(tiny_model, ["depth"], keep))
    met = (routing.experts == lost).any(-1)
    assert met.any() and not met.all()
    assert torch.equal(z[~met], y[~met]) and bool((z[met] != y[met]).any(-1).all())


def test_theta_keeps_by_the_rule_and_never_fewer_than_k():
    stats = made([[0.9, 0.9, 0.03, 0.031, 0.0, 0.139], [0.0, 0.0, 1.0, 0.9, 0.1, 0.0]])
    layer = "blocks.1.mlp"
    assert visited_experts(stats, ["a"], 0.0)[layer] == [0, 1, 2, 3, 5]
    assert visited_experts(stats, ["a"], 0.03)[layer] == [0, 1, 3, 5]
    assert visited_experts(stats, ["a"], 0.95, least=2)[layer] == [0, 1]
    assert visited_experts(stats, ["a"], 0.5, least=3)[layer] == [0, 1, 5]
    assert visited_experts(stats, ["a", "b"], 0.5, least=2)[layer] == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match=r"theta is 1\.0"):
        visited_experts(stats, ["a"], 1.0)


def test_rivals_have_the_same_size_and_their_own_choice(tiny_model):
    sizes = {"blocks.2.attn": 3, "blocks.3.mlp": 2}
    draws = [random_experts(tiny_model, sizes, seed) for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1] and len({str(d) for d in draws}) > 2
    bank = expert_banks(tiny_model)["blocks.3.mlp"]
    with torch.no_grad():
        bank.w1[[1, 4]] *= 3
    found = magnitude_experts(tiny_model, sizes)
    assert found["blocks.3.mlp"] == [1, 4]
    for rows in (*draws, found):
        assert {name: len(set(experts)) for name, experts in rows.items()} == sizes


def test_several_tasks_and_what_they_stand_on_come_along(tmp_path, images):
    from visgen.task import build_model

    from .conftest import CONFIG

    torch.manual_seed(0)
    heads = {**CONFIG["heads"], "ood": {"task": "ood"}}
    model = build_model({**CONFIG, "heads": heads}).eval()
    stats = collect_expert_stats(model, {"classification": Pictures(), "depth": Pictures(seed=3)})
    part, report = extract_task(model, ["ood", "depth"], stats=stats, probe=list(images))
    assert list(part.specs) == ["classification.x", "depth", "ood"] and part.backbone.tasks == (
        "classification",
        "depth",
    )
    assert set(report.change) == {"classification.x", "depth", "classification"}
    again = from_pretrained(save_pretrained(part, tmp_path / "part"))
    assert again.config() == part.config()
    for head in ("classification.x", "depth"):
        assert torch.equal(outputs(again, images, head), outputs(part, images, head))


def test_a_saved_extract_answers_through_the_pipeline(narrow, tmp_path):
    model = narrow(router_hidden=8)
    picture = torch.rand(3, 64, 64)
    stats = collect_expert_stats(model, {"depth": Pictures(2)})
    part, _ = extract_task(model, "depth", 0.0, stats=stats)
    folders = [save_pretrained(m, tmp_path / n) for m, n in ((model, "whole"), (part, "part"))]
    whole, cut = (pipeline("depth", model=str(folder))(picture) for folder in folders)
    assert torch.equal(whole.depth.metres, cut.depth.metres)


def test_below_k_tokens_visit_what_is_left(tiny_model, images):
    stats = collect_expert_stats(tiny_model, {"depth": Pictures()})
    part, report = extract_task(tiny_model, "depth", keep=1, stats=stats)
    assert {len(kept) for kept in report.experts.values()} == {1}
    assert all(b.router.k_of("depth") == 1 for b in expert_banks(part).values())
    assert report.flops["depth"]["after"] < report.flops["depth"]["before"]
    assert outputs(part, images, "depth").isfinite().all()


def test_wrong_requests_are_refused(tiny_model):
    stats = collect_expert_stats(tiny_model, {"depth": Pictures(1)})
    with pytest.raises(UnknownName, match="task 'classification' was not measured"):
        extract_task(tiny_model, "classification", stats=stats)
    with pytest.raises(ConfigError, match="rule 'laod' is unknown.*did you mean 'load'"):
        extract_task(tiny_model, "depth", stats=stats, rule="laod")
    with pytest.raises(ConfigError, match="keep is 7 but the smallest bank has 5"):
        extract_task(tiny_model, "depth", stats=stats, keep=7)
    with pytest.raises(ConfigError, match=r"statistics are of layers blocks.1.mlp \(3\) but the model has"):
        extract_task(tiny_model, "depth", stats=made([[1, 1, 0]], ("depth",)))
    with pytest.raises(ConfigError, match="no head is named"):
        extract_task(tiny_model, [], stats=stats)
