"""Budgets: nothing changes where nothing is saved, costs fall step by step, and all of it can be taken back."""

from __future__ import annotations

import pytest
import torch

from visgen.engine import evaluate
from visgen.errors import ConfigError, UnknownName
from visgen.experts import (
    add_task,
    budget_cost,
    collect_expert_stats,
    expert_banks,
    extract_task,
    near_duplicates,
    reset_budget,
    set_budget,
)
from visgen.experts.curves import budget_curve, extraction_curve
from visgen.task import HeadSpec
from visgen.zoo import from_pretrained, save_pretrained

from .conftest import Pictures, make_model

ATTN, MLP = "blocks.2.attn", "blocks.3.mlp"


def answer(model, images, head="depth"):
    with torch.no_grad():
        return model(images, head)[0]


def state_of(model):
    return {k: v.clone() for k, v in model.state_dict().items()}, model.config()


def same_state(a, b):
    return a[1] == b[1] and a[0].keys() == b[0].keys() and all(torch.equal(a[0][k], b[0][k]) for k in a[0])


@pytest.mark.parametrize("spend", [{"k": 2}, {"k": 99}, {"tau": 1.0}, {"k": {MLP: 2}}, {"allow": {MLP: range(6)}}, {}])
def test_a_budget_that_saves_nothing_is_the_identity(tiny_model, images, spend):
    before, config = answer(tiny_model, images), tiny_model.config()
    set_budget(tiny_model, "depth", **spend)
    assert torch.equal(answer(tiny_model, images), before) and tiny_model.config() == config


@pytest.mark.parametrize(
    "spend",
    [
        {"k": 1},
        {"tau": 0.5},
        {"deny": {MLP: [0, 3], ATTN: [1]}},
        {"allow": {MLP: [1, 2, 4]}},
        {"merge": {MLP: [[0, 1], [3, 5]], ATTN: [[2, 4]]}},
        {"k": 1, "tau": 0.9, "deny": {ATTN: [0]}, "merge": {MLP: [[1, 2]]}},
    ],
)
def test_a_budget_changes_its_task_only_and_is_taken_back(tiny_model, images, spend, tmp_path):
    heads = list(tiny_model.specs)
    before, state = {h: answer(tiny_model, images, h) for h in heads}, state_of(tiny_model)
    with set_budget(tiny_model, "depth", **spend) as budget:
        spent = answer(tiny_model, images)
        assert not torch.equal(spent, before["depth"]) and spent.isfinite().all()
        assert all(torch.equal(answer(tiny_model, images, h), before[h]) for h in heads if h != "depth")
        again = from_pretrained(save_pretrained(tiny_model, tmp_path / "m"))
        assert again.config() == tiny_model.config() and torch.equal(answer(again, images), spent)
        assert len(budget.merged.get(MLP, ())) == len(spend.get("merge", {}).get(MLP, ()))
    assert same_state(state_of(tiny_model), state)
    assert all(torch.equal(answer(tiny_model, images, h), before[h]) for h in heads)
    reset_budget(again)  # also after a reload, where no handle is left
    assert same_state(state_of(again), state)


def test_costs_fall_step_by_step():
    model = make_model(top_k=4)
    images = [s.image for s in Pictures(2).samples]
    costs = []
    for k in (4, 3, 2, 1):
        with set_budget(model, "depth", k={MLP: k}):
            costs.append(budget_cost(model, "depth", images))
        assert costs[-1]["visits"][MLP] == pytest.approx(k)
    tokens = 4 * 6
    expert, score = 2 * 32 * model.backbone.banks[MLP].hidden, 0
    steps = [a["flops"] - b["flops"] for a, b in zip(costs, costs[1:], strict=False)]
    assert steps == [tokens * expert + score] * 3
    assert all(a["active_parameters"] > b["active_parameters"] for a, b in zip(costs, costs[1:], strict=False))
    last = None
    for tau in (1.0, 0.95, 0.8, 0.5, 0.2, 0.01):
        with set_budget(model, "depth", tau=tau):
            now = budget_cost(model, "depth", images)
        assert last is None or now["flops"] <= last["flops"]
        last = now
    assert last["visits"] == {ATTN: 1.0, MLP: 1.0} and last["flops"] < costs[0]["flops"]


def test_denied_experts_are_not_visited_and_allowed_ones_alone_are(tiny_model, images):
    def visited():
        with torch.no_grad():
            found = tiny_model.backbone(images, "depth", collect=True).extras["routing"]
        return [set(one["experts"].flatten().tolist()) for one in found]

    favourite = max(visited()[1])
    with set_budget(tiny_model, "depth", deny={MLP: [favourite]}):
        assert favourite not in visited()[1]
    with set_budget(tiny_model, "depth", allow={MLP: [0, 5]}):
        assert visited()[1] == {0, 5}


def test_merging_twins_loses_nothing_but_visits(tiny_model, images):
    bank = expert_banks(tiny_model)[MLP]
    with torch.no_grad():
        for t in bank.part(0).values():
            t[4] = t[1]
    assert near_duplicates(tiny_model) == {MLP: [[1, 4]]}
    before = answer(tiny_model, images)
    dear = budget_cost(tiny_model, "depth", list(images))
    set_budget(tiny_model, "depth", merge=near_duplicates(tiny_model))
    torch.testing.assert_close(answer(tiny_model, images), before, rtol=1e-4, atol=1e-5)
    cheap = budget_cost(tiny_model, "depth", list(images))
    assert cheap["visits"][MLP] <= dear["visits"][MLP]
    stats = collect_expert_stats(tiny_model, {"depth": Pictures(4)})
    assert stats.layer(MLP).load[0][[1, 4]].tolist() == [0, 0] and stats.layer(MLP).num_experts == 7
    part, report = extract_task(tiny_model, "depth", 0.0, stats=stats)  # and the originals can be left behind
    assert not {1, 4} & set(report.experts[MLP])
    kept = [s.image for s in Pictures(4).samples]
    assert all(torch.equal(answer(part, x[None]), answer(tiny_model, x[None])) for x in kept)


def test_the_merged_expert_is_the_mean_by_visits(tiny_model):
    stats = collect_expert_stats(tiny_model, {"depth": Pictures(2)})
    bank = expert_banks(tiny_model)[MLP]
    one, two = stats.layer(MLP).load[0].topk(2).indices.tolist()
    share = stats.layer(MLP).load[0][[one, two]]
    share = share / share.sum()
    pair = bank.expert_tensors([one, two])
    budget = set_budget(tiny_model, "depth", merge={MLP: [[one, two]]}, usage=stats)
    assert budget.merged == {MLP: [(sorted([one, two]), 6)], ATTN: []}
    for key, value in bank.expert_tensors([6]).items():
        expected = share[0] * pair[key][0].double() + share[1] * pair[key][1].double()
        torch.testing.assert_close(value[0], expected.float(), rtol=1e-5, atol=1e-6)


def test_it_composes_with_adding_and_extracting(tiny_model, images):
    usage = collect_expert_stats(tiny_model, {"classification": Pictures(1)})
    before = answer(tiny_model, images)
    add_task(tiny_model, "classification.n", HeadSpec("classification", ("p", "q")), new_experts=1, usage=usage)
    set_budget(tiny_model, "classification.n", k=1, deny={MLP: [0]})
    stats = collect_expert_stats(tiny_model, {"classification.n": Pictures(3)})
    pictures = [s.image for s in Pictures(3).samples]
    part, report = extract_task(tiny_model, "classification.n", 0.0, stats=stats, probe=pictures)
    assert report.change == {"classification.n": 0.0}
    with set_budget(part, "classification.n", tau=0.9):
        assert answer(part, images, "classification.n").isfinite().all()
    assert torch.equal(answer(tiny_model, images), before)


def test_a_merge_on_top_of_an_extract_is_not_taken_back_unseen(tiny_model, tmp_path):
    stats = collect_expert_stats(tiny_model, {"depth": Pictures(2)})
    part, _ = extract_task(tiny_model, "depth", keep=2, stats=stats)
    set_budget(part, "depth", merge={MLP: [[0, 1]]})
    save_pretrained(part, tmp_path / "m")
    again = from_pretrained(tmp_path / "m")
    with pytest.raises(ConfigError, match="sees an extract with merged experts"):
        reset_budget(again)


def test_a_number_of_experts_is_an_upper_bound_whatever_came_before(tiny_model, images):
    set_budget(tiny_model, "depth", k=1)
    once = answer(tiny_model, images)
    set_budget(tiny_model, "depth", k=8)
    assert torch.equal(answer(tiny_model, images), once)


@pytest.mark.parametrize(
    ("spend", "error", "message"),
    [
        ({"k": 0}, ConfigError, "k is 0 but layer"),
        ({"k": {MLP: 3}}, ConfigError, "k is 3 but layer 'blocks.3.mlp' visits 2"),
        ({"tau": 0.0}, ConfigError, r"tau is 0\.0"),
        ({"allow": {MLP: [2]}}, ConfigError, "k is 2 but 1 of 6 experts are open"),
        ({"deny": {MLP: [6]}}, ConfigError, "deny names expert 6 of layer 'blocks.3.mlp', which has 6"),
        ({"deny": {"blocks.3.mpl": [0]}}, UnknownName, "did you mean 'blocks.3.mlp'"),
        ({"merge": {MLP: [[0, 1], [2]]}}, ConfigError, r"experts \[2\] of layer .* cannot be merged"),
        ({"merge": {ATTN: [[0, 1]]}, "tau": {MLP: 2.0}}, ConfigError, r"tau is 2\.0"),
    ],
)
def test_wrong_budgets_are_refused_and_leave_the_model_alone(tiny_model, images, spend, error, message):
    state, before = state_of(tiny_model), answer(tiny_model, images)
    with pytest.raises(error, match=message):
        set_budget(tiny_model, "depth", **spend)
    assert same_state(state_of(tiny_model), state) and torch.equal(answer(tiny_model, images), before)


def test_a_budget_that_fails_half_way_is_taken_back(tiny_model):
    state, stats = state_of(tiny_model), collect_expert_stats(tiny_model, {"depth": Measured()})
    with pytest.raises(UnknownName, match="task 'classification' was not measured"):
        set_budget(tiny_model, "classification", k=1, merge={MLP: [[0, 1]]}, usage=stats)
    assert same_state(state_of(tiny_model), state)
    assert {bank.router.route("classification").top_k for bank in tiny_model.backbone.banks.values()} == {None}


class Measured(Pictures):
    """Pictures with depth to measure against."""

    def __init__(self):
        from visgen.structures import DepthMap

        super().__init__(3)
        for sample in self.samples:
            sample.targets["depth"] = DepthMap(torch.full(sample.size, 2.0))


def silent_by_hand(source):
    """The figures of a model whose experts end in zeros."""
    model = make_model()
    with torch.no_grad():
        for bank in model.backbone.banks.values():
            for name, value in bank.named_parameters():
                if name.rsplit(".", 1)[-1] in ("w2", "b2", "o"):
                    value.zero_()
    return evaluate(model, source, "depth", max_side=model.max_side, min_side=model.min_side or None).metrics


def test_curves_measure_what_their_points_say(tiny_model):
    source, state = Measured(), state_of(tiny_model)
    found = budget_curve(tiny_model, "depth", source, ks=[2, 1], taus=[0.5], clock=lambda c: {n: [2.0, 1.0] for n in c})
    full, same, one, tau = found["points"]
    assert [p["case"] for p in found["points"]] == ["full", "k 2", "k 1", "tau 0.5"]
    assert same["metrics"] == full["metrics"] != one["metrics"] and same["flops"] == full["flops"] > one["flops"]
    assert one["visits"] == {ATTN: 1, MLP: 1} and full["latency_ms"] == 1500 and tau["flops"] <= full["flops"]
    stats = collect_expert_stats(tiny_model, {"depth": source})
    curve = extraction_curve(tiny_model, "depth", source, stats, thetas=[0.0], keeps=[2], seeds=[0, 1])
    assert curve["full"] == full["metrics"] == curve["points"][0]["load"]  # every expert ever visited is kept
    assert curve["silent"] == pytest.approx(silent_by_hand(source), rel=1e-5) and curve["silent"] != curve["full"]
    assert curve["points"][1]["experts"][ATTN] == 2 and len(curve["points"][1]["random"]["AbsRel"]["values"]) == 2
    assert same_state(state_of(tiny_model), state)
    with pytest.raises(ConfigError, match="both empty"):
        budget_curve(tiny_model, "depth", source)
    with pytest.raises(ConfigError, match="two or more to show its spread"):
        extraction_curve(tiny_model, "depth", source, stats, keeps=[2], seeds=[0])
