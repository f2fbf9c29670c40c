"""Banks in parts and routes into them: what may not change does not, and what changes equals a loop over tokens."""

from dataclasses import replace

import pytest
import torch

from visgen.errors import ConfigError
from visgen.nn.bank import BankShape
from visgen.nn.moe import MoEMlp
from visgen.nn.moe_attention import MoEAttention
from visgen.nn.route import Route, RouteView
from visgen.nn.routing import Router, TaskRows, route_in_view, route_top_k
from visgen.nn.routing_sums import routing_statistics

D, E, K = 16, 7, 3  # rows of 64 bytes: where a slice of another alignment starts, its last bits may differ
A, B = TaskRows(("a",), torch.tensor([0])), TaskRows(("b",), torch.tensor([1]))


def layer_of(kind, *, seed=0, gate_norm="topk", parts=None, order=None, routes=None):
    torch.manual_seed(seed)
    router = Router(D, E if parts is None else sum(parts), K, ("a", "b"), gate_norm=gate_norm, routes=routes)
    layer = MoEMlp(D, 16, router, parts, order) if kind == "mlp" else MoEAttention(D, 16, router, parts, order)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer


def naive(layer, x, routing):
    """One token and one slot at a time, experts fetched by number."""
    bank = layer.expert_tensors(range(layer.router.num_experts))
    kept = torch.ones_like(routing.experts, dtype=torch.bool) if routing.kept is None else routing.kept
    y = torch.zeros_like(x)
    if isinstance(layer, MoEAttention):
        keys, values = layer.kv(x).split(layer.head_dim, -1)
    for b in range(x.shape[0]):
        for n in range(x.shape[1]):
            for g, e, keep in zip(routing.weights[b, n], routing.experts[b, n], kept[b, n], strict=True):
                if not keep:
                    continue
                if isinstance(layer, MoEMlp):
                    inner = torch.nn.functional.gelu(bank["w1"][e] @ x[b, n] + bank["b1"][e])
                    y[b, n] += g * (bank["w2"][e] @ inner + bank["b2"][e])
                else:
                    share = (keys[b] @ (bank["q"][e] @ x[b, n]) * layer.head_dim**-0.5).softmax(0)
                    y[b, n] += g * (bank["o"][e] @ (share @ values[b]))
    return y


@pytest.mark.parametrize("kind", ["mlp", "attention"])
def test_splitting_and_joining_leave_outputs_and_numbers_as_they_are(kind):
    layer, x = layer_of(kind), torch.randn(2, 9, D)
    names = set(layer.state_dict())
    before, routing = layer(x, A)
    whole = layer.expert_tensors(range(E))
    parts = layer.split([5, 1])
    assert [layer.part_experts(i) for i in parts] == [(1, 5)] and layer.part_sizes == (5, 2)
    again = layer.split([1, 6])
    assert [layer.part_experts(i) for i in again] == [(6,), (1,)] and sorted(layer.part_sizes) == [1, 1, 1, 4]
    after, same = layer(x, A)
    assert torch.equal(after, before) and torch.equal(same.experts, routing.experts)
    assert all(torch.equal(v, whole[k]) for k, v in layer.expert_tensors(range(E)).items())
    layer.join()
    assert set(layer.state_dict()) == names and torch.equal(layer(x, A)[0], before)
    assert all(torch.equal(v, whole[k]) for k, v in layer.part(0).items())


@pytest.mark.parametrize("kind", ["mlp", "attention"])
def test_only_the_part_in_training_gets_a_gradient_and_it_is_the_right_one(kind):
    layer, x = layer_of(kind), torch.randn(2, 9, D)
    layer(x, A)[0].square().sum().backward()
    full = {name: p.grad for name, p in layer.part(0).items()}
    layer.requires_grad_(False)
    (part,) = layer.split([2, 4])
    for p in layer.part(part).values():
        p.requires_grad_()
    assert layer.frozen_places() == (0, 1, 2, 3, 4)  # of the parts one after the other
    with torch.no_grad():
        assert layer.frozen_places() == ()
    layer(x, A)[0].square().sum().backward()
    assert all(p.grad is None for p in layer.part(0).values())
    for name, p in layer.part(part).items():
        torch.testing.assert_close(p.grad, full[name][[2, 4]])


@pytest.mark.parametrize("kind", ["mlp", "attention"])
def test_added_experts_are_seen_by_new_tasks_only(kind):
    layer, x = layer_of(kind), torch.randn(2, 9, D)
    old = [layer(x, task)[0] for task in (A, B)]
    part = layer.append(layer.new_experts(2))
    assert layer.part_experts(part) == (7, 8) and layer.router.num_experts == 9
    layer.router.add_task("c")
    assert layer.router.scores_of("c") == 9 and layer.router.scores_of("a") == 7
    with torch.no_grad():
        layer.router.tasks["c"].weight[:7].zero_()
        layer.router.tasks["c"].weight[7:].normal_(std=5)
    y, routing = layer(x, TaskRows(("c",), torch.tensor([2])))
    assert int(routing.experts.max()) >= 7
    torch.testing.assert_close(y, naive(layer, x, routing), rtol=1e-5, atol=1e-5)
    layer.split([3, 8])  # splits stay inside the parts that the experts came in
    assert all(torch.equal(layer(x, task)[0], was) for task, was in zip((A, B), old, strict=True))
    with pytest.raises(ConfigError, match="no part of their own"):
        layer.drop_last(2)
    layer.join()
    assert all(torch.equal(layer(x, task)[0], was) for task, was in zip((A, B), old, strict=True))


@pytest.mark.parametrize("kind", ["mlp", "attention"])
@pytest.mark.parametrize("route", [Route(width=4), Route(index=(0, 1, 2, 3))])
def test_a_part_that_holds_more_than_a_task_sees_can_be_split(kind, route):
    layer, x = layer_of(kind, routes={"a": route}).eval(), torch.randn(1, 5, D)
    with torch.no_grad():
        before = layer(x, A)[0]
        layer.split([1, 3, 6])
        assert torch.equal(layer(x, A)[0], before)
        torch.testing.assert_close(before, naive(layer, x, layer(x, A)[1]), rtol=1e-5, atol=1e-5)


def test_experts_that_a_task_sees_cannot_be_dropped():
    layer = layer_of("mlp")
    layer.append(layer.new_experts(2))
    layer.router.add_task("c")
    with pytest.raises(ConfigError, match="scores 9 experts but the bank has 7"):
        layer.drop_last(2)
    layer = layer_of("mlp")
    x = torch.randn(1, 4, D)
    before = layer(x, A)[0]
    layer.append(layer.new_experts(2))
    layer.drop_last(2)
    assert layer.part_sizes == (7,) and layer.shape() == BankShape((7,)) and torch.equal(layer(x, A)[0], before)


@pytest.mark.parametrize("gate_norm", ["topk", "none"])
@pytest.mark.parametrize("kind", ["mlp", "attention"])
@pytest.mark.parametrize(
    "route",
    [
        Route(top_k=2),
        Route(tau=0.6),
        Route(deny=(0, 4)),
        Route(width=5),
        Route(index=(0, 1, 1, 3, -1, 5, 1)),
        Route(index=(2, 1, 1, 3, -1, 1, 0), tau=0.7, deny=(3,)),
    ],
)
def test_a_routed_view_equals_the_loop(kind, gate_norm, route):
    layer = layer_of(kind, gate_norm=gate_norm, routes={"a": route}).double()
    x = torch.randn(3, 11, D).double()
    y, routing = layer(x, A)
    torch.testing.assert_close(y, naive(layer, x, routing), rtol=1e-9, atol=1e-10)
    sums = routing.weights.sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums)) if gate_norm == "topk" else None
    probe = torch.randn_like(y)
    (y * probe).sum().backward()
    ours = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    layer.zero_grad()
    _, again = layer(x, A)
    again_y = naive(layer, x, again)  # gradients reach the router through the gates alone
    (again_y * probe).sum().backward()
    weight = layer.router.tasks["a"].weight.grad
    torch.testing.assert_close(ours[[n for n, p in layer.named_parameters()].index("router.tasks.a.weight")], weight)


def test_what_a_route_says_is_what_happens():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    p = logits.softmax(-1)[0]
    plain = route_top_k(logits, 3)

    def see(k=3, norm="topk", **fields):
        return route_in_view(logits, k, norm, RouteView(Route(**fields), 4))

    assert see(deny=(0,)).experts.tolist() == [[1, 2, 3]]
    torch.testing.assert_close(see(deny=(0,), norm="none").weights, p[None, 1:])
    assert torch.equal(see(tau=1.0).weights, plain.weights) and see(tau=1.0).kept is None
    kept = see(tau=float(p[0]) + 0.01)
    assert kept.kept.tolist() == [[True, True, False]]
    torch.testing.assert_close(kept.weights[0, :2], route_top_k(logits, 2).weights[0])
    assert see(tau=float(p[0]) - 0.01).kept.tolist() == [[True, False, False]]
    twins = see(index=(1, 0, 1, 2))
    assert twins.experts.tolist() == [[1, 0, 1]] and twins.kept.tolist() == [[True, True, False]]
    torch.testing.assert_close(
        twins.weights[0],
        torch.stack([*(plain.weights[0, [0]] + plain.weights[0, 2]), plain.weights[0, 1], torch.tensor(0.0)]),
    )


def test_statistics_count_in_the_bank_and_leave_closed_experts_out():
    layer = layer_of("mlp", routes={"a": Route(index=(3, 3, -1, 0, 5, 6, 2), deny=(4,))})
    x = torch.randn(2, 9, D)
    found = routing_statistics(layer(x, A)[1], A)
    assert found["probabilities"].shape == found["selected"].shape == (1, E)
    assert float(found["probabilities"].detach().sum()) == pytest.approx(18, rel=1e-5)
    assert found["probabilities"][0, [1, 4, 5]].tolist() == [0, 0, 0]
    assert found["selected"][0, [1, 4, 5]].tolist() == [0, 0, 0] and float(found["selected"].sum()) <= 18 * K


def test_a_shape_rebuilds_the_layer():
    layer = layer_of("mlp")
    layer.split([1, 5])
    layer.append(layer.new_experts(1))
    layer.router.set_route("a", replace(layer.router.route("a"), deny=(2,), tau=0.5))
    options = layer.shape().options()
    assert options["parts"] == [5, 2, 1] and options["routes"]["a"] == {"width": 7, "tau": 0.5, "deny": [2]}
    shape = BankShape(**options)
    from visgen.nn.route import as_routes

    twin = layer_of("mlp", seed=1, parts=shape.parts, order=shape.order, routes=as_routes(shape.routes))
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(2, 9, D)
    assert twin.shape() == layer.shape() and torch.equal(twin(x, A)[0], layer(x, A)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Route(tau=0.0), "tau is 0.0"),
        (lambda: Route(deny=(9,)).check(7, 3), "expert 9 is denied but the router scores 7"),
        (lambda: Route(width=8).check(7, 3), "scores 8 experts but the bank has 7"),
        (lambda: Route(index=(0, 7)).check(7, 1), "points to expert 7 but the bank has 7"),
        (lambda: Route(deny=(0, 1, 2, 3, 4)).check(7, 3), "k is 3 but 2 of 7 experts are open"),
        (lambda: Route(top_k=8).check(7, 3), "k is 8 but 7 of 7"),
        (lambda: BankShape((3, 0)), r"parts of a bank are \[3, 0\]"),
        (lambda: BankShape((3,), (0, 0, 1)), r"order of a bank is \[0, 0, 1\]"),
        (lambda: layer_of("mlp").split([]), "experts .* cannot be split off a bank of 7"),
        (lambda: layer_of("mlp").split([7]), r"experts \[7\] cannot be split"),
        (lambda: layer_of("mlp").router.set_route("a", Route(width=5)), "has 5 scores but its router gives 7"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
