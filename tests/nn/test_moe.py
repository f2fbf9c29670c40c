"""The laws of a mixture-of-experts MLP and of routed attention, against loops that do one token at a time."""

import math

import pytest
import torch
import torch.nn.functional as F

from visgen.nn.expert_mlp import expert_mlp, grouped_mlp, sliced_mlp
from visgen.nn.grouped_linear import dispatch_rows
from visgen.nn.mlp import Mlp
from visgen.nn.moe import MoEMlp
from visgen.nn.moe_attention import MoEAttention
from visgen.nn.routing import Router, TaskRows

TASK = TaskRows(("a",), torch.tensor([0]))
D, H = 6, 5


def moe(experts, k, gate_norm="topk", seed=0):
    torch.manual_seed(seed)
    layer = MoEMlp(D, H, Router(D, experts, k, ("a",), gate_norm=gate_norm))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


def attention(experts, k, gate_norm="topk", seed=0):
    torch.manual_seed(seed)
    layer = MoEAttention(D, 4, Router(D, experts, k, ("a",), gate_norm=gate_norm))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


def one_expert(layer, e, x):
    return F.linear(F.gelu(F.linear(x, layer.w1[e], layer.b1[e])), layer.w2[e], layer.b2[e])


def naive_mlp(layer, x, routing):
    """Double loop over tokens and their experts."""
    out = []
    for b in range(x.shape[0]):
        for n in range(x.shape[1]):
            y = 0
            for g, e in zip(routing.weights[b, n], routing.experts[b, n], strict=True):
                y = y + g * one_expert(layer, int(e), x[b, n])
            out.append(y)
    return torch.stack(out).view(x.shape) if out else x * 0


def naive_attention(layer, x, routing):
    """One token and one head at a time."""
    batch, tokens, _ = x.shape
    keys, values = layer.kv(x).split(layer.head_dim, -1)
    images = []
    for b in range(batch):
        rows = []
        for n in range(tokens):
            y = 0
            for g, e in zip(routing.weights[b, n], routing.experts[b, n], strict=True):
                q = layer.q[int(e)] @ x[b, n]
                share = (keys[b] @ q / math.sqrt(layer.head_dim)).softmax(0)
                y = y + g * (layer.o[int(e)] @ (share @ values[b]))
            rows.append(y)
        images.append(torch.stack(rows))
    return torch.stack(images)


def test_equal_gates_over_all_experts_give_the_mean_of_dense_mlps():
    layer = moe(3, 3)
    torch.nn.init.zeros_(layer.router.tasks["a"].weight)
    x = torch.randn(2, 4, D)
    mean = sum(one_expert(layer, e, x) for e in range(3)) / 3
    torch.testing.assert_close(layer(x, TASK)[0], mean)


def test_all_experts_give_the_dense_mixture():
    layer = moe(3, 3)
    x = torch.randn(2, 4, D)
    y, routing = layer(x, TASK)
    p = routing.logits.softmax(-1)
    torch.testing.assert_close(y, sum(p[..., e : e + 1] * one_expert(layer, e, x) for e in range(3)))


def test_one_expert_is_the_plain_mlp():
    layer, dense = moe(1, 1), Mlp(D, H)
    state = {"fc1.weight": layer.w1[0], "fc1.bias": layer.b1[0], "fc2.weight": layer.w2[0], "fc2.bias": layer.b2[0]}
    dense.load_state_dict({k: v.detach() for k, v in state.items()})
    x = torch.randn(2, 4, D)
    torch.testing.assert_close(layer(x, TASK)[0], dense(x))


def test_identical_experts_hide_the_routing():
    layer = moe(7, 3)
    with torch.no_grad():
        for bank in (layer.w1, layer.b1, layer.w2, layer.b2):
            bank.copy_(bank[:1].expand_as(bank))
    x = torch.randn(2, 9, D)
    torch.testing.assert_close(layer(x, TASK)[0], one_expert(layer, 0, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gate_norm", ["topk", "none"])
@pytest.mark.parametrize(("build", "naive"), [(moe, naive_mlp), (attention, naive_attention)])
@pytest.mark.parametrize(("experts", "k"), [(5, 2), (9, 3), (4, 4)])
def test_equals_a_loop_over_tokens_with_gradients(build, naive, experts, k, gate_norm, backend):
    layer = build(experts, k, gate_norm).double()
    probe = torch.randn(2, 4, D).double()
    x = torch.randn(4, 2, D).double().transpose(0, 1)  # not contiguous
    found = []
    for form in ("ours", "naive"):
        given = x.clone().requires_grad_()
        y, routing = layer(given, TASK)
        y = y if form == "ours" else naive(layer, given, routing)
        layer.zero_grad()
        (y * probe).sum().backward()
        found.append([y, given.grad, *(p.grad for p in layer.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("build", [moe, attention])
def test_float64_gradcheck(build, backend):
    layer = build(4, 2).double()
    x = torch.randn(1, 3, D, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x, TASK))[0]

    assert torch.autograd.gradcheck(run, (x, *values))


def test_all_tokens_to_one_pair_and_ties(backend):
    layer = moe(6, 2)
    x = torch.randn(1, 8, D)
    with torch.no_grad():
        layer.router.tasks["a"].weight.zero_()  # every score ties
    y, routing = layer(x, TASK)
    assert routing.experts.unique().numel() >= 2 and (routing.experts[..., 0] != routing.experts[..., 1]).all()
    torch.testing.assert_close(y, naive_mlp(layer, x, routing))
    same = torch.tensor([[4, 1]]).expand(8, 2)
    gates = torch.tensor([[0.75, 0.25]]).expand(8, 2)
    y = expert_mlp(x[0], gates, same, layer.w1, layer.b1, layer.w2, layer.b2)
    torch.testing.assert_close(y, 0.75 * one_expert(layer, 4, x[0]) + 0.25 * one_expert(layer, 1, x[0]))
    y.sum().backward()
    assert layer.w1.grad[[0, 2, 3, 5]].abs().sum() == 0 and layer.w1.grad[4].abs().sum() > 0


def test_no_rows(backend):
    layer = moe(6, 2)
    y, _ = layer(torch.zeros(0, 4, D, requires_grad=True), TASK)
    assert y.shape == (0, 4, D)
    y.sum().backward()
    assert layer.w1.grad.abs().sum() == 0


@pytest.mark.parametrize("build", [moe, attention])
def test_permuting_experts_with_router_columns_changes_nothing(build):
    layer, x = build(6, 3), torch.randn(2, 5, D)
    before = layer(x, TASK)[0]
    order = torch.tensor([4, 2, 5, 0, 3, 1])
    banks = ("w1", "b1", "w2", "b2") if build is moe else ("q", "o")
    with torch.no_grad():
        for bank in (*(getattr(layer, n) for n in banks), layer.router.tasks["a"].weight):
            bank.copy_(bank[order])
    torch.testing.assert_close(layer(x, TASK)[0], before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [moe, attention])
def test_permuting_tokens_permutes_outputs(build):
    layer, x, order = build(6, 3), torch.randn(2, 5, D), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(x[:, order], TASK)[0], layer(x, TASK)[0][:, order], rtol=1e-5, atol=1e-5)


def test_a_row_alone_equals_the_row_in_a_batch():
    layer, x = moe(6, 3), torch.randn(4, 50, D)
    together = layer(x, TASK)[0]
    for b, n in ((0, 0), (1, 7), (3, 49)):
        torch.testing.assert_close(layer(x[b : b + 1, n : n + 1], TASK)[0][0, 0], together[b, n], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", [moe, attention])
def test_two_runs_are_bitwise_equal(build):
    layer = build(6, 3)
    x = torch.randn(2, 30, D)
    runs = []
    for _ in range(2):
        layer.zero_grad()
        y, _ = layer(x, TASK)
        y.square().sum().backward()
        runs.append([y, *(p.grad.clone() for p in layer.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_initial_outputs_keep_the_scale_of_a_dense_mlp():
    torch.manual_seed(0)
    x = torch.randn(1, 400, 64)
    spread = float(Mlp(64, 256)(x).detach().std())
    layer = MoEMlp(64, 64, Router(64, 16, 4, ("a",)))
    # four gates near 1/4 average four independent experts: half the deviation
    assert float(layer(x, TASK)[0].detach().std()) == pytest.approx(spread / 2, rel=0.35)


def test_grouped_and_sliced_forms_agree_with_gradients():
    """The form for accelerators against the form for CPUs, an expert without rows and a frozen bank included."""
    layer = moe(6, 2).double()
    x, gates = torch.randn(30, D).double(), torch.rand(30, 2).double()
    dispatch = dispatch_rows(torch.rand(30, 5).topk(2).indices, 6)
    for frozen in (False, True):
        for bank in (layer.w1, layer.b1, layer.w2, layer.b2):
            bank.requires_grad_(not frozen)
        found = []
        for form in (grouped_mlp, sliced_mlp):
            layer.zero_grad()
            leaves = [x.clone().requires_grad_(), gates.clone().requires_grad_()]
            y = form(*leaves, dispatch, layer.w1, layer.b1, layer.w2, layer.b2)
            y.square().sum().backward()
            found.append(
                [y, *(leaf.grad for leaf in leaves), *(p.grad for p in (layer.w1, layer.b1, layer.w2, layer.b2))]
            )
        for ours, theirs in zip(*found, strict=True):
            assert (ours is None) == (theirs is None) and (theirs is None or torch.allclose(ours, theirs, atol=1e-12))
        assert (layer.w1.grad is None) == frozen
        with torch.no_grad():
            y = sliced_mlp(x, gates, dispatch, layer.w1, layer.b1, layer.w2, layer.b2)
        assert torch.equal(y, found[1][0])


def test_bfloat16_autocast_is_close_and_gives_float32_gradients(backend):
    layer = moe(6, 2)
    x = torch.randn(1, 20, D)
    exact, routing = layer(x, TASK)
    with torch.autocast("cpu", torch.bfloat16):
        y, same = layer(x, TASK)
    assert y.dtype == torch.bfloat16 and torch.equal(routing.experts, same.experts)
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.1)
    y.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in layer.parameters())


def test_loop_and_grouped_mm_agree():
    """The loop against PyTorch's own ragged product, where this build has one."""
    if not hasattr(torch.nn.functional, "grouped_mm"):
        pytest.skip("this PyTorch has no grouped_mm")
    from visgen.nn.grouped_linear import grouped_linear

    torch.manual_seed(0)
    x, w, counts = torch.randn(24, 16), torch.randn(4, 8, 16), torch.tensor([10, 0, 6, 8])
    theirs = F.grouped_mm(x, w.transpose(1, 2), offs=counts.cumsum(0).to(torch.int32))
    torch.testing.assert_close(grouped_linear(x, w, counts), theirs, rtol=1e-5, atol=1e-5)
