"""The choice of a backend, agreement of all of them, and one graph for torch.compile and torch.export."""

import logging

import pytest
import torch

from visgen.errors import ConfigError
from visgen.nn import moe_backend
from visgen.nn.dispatch import dispatch_rows
from visgen.nn.expert_mlp import expert_mlp, grouped_mlp, masked_mlp
from visgen.nn.grouped_linear import grouped_linear
from visgen.nn.moe import MoEMlp
from visgen.nn.moe_attention import MoEAttention
from visgen.nn.moe_backend import ENVIRONMENT, choose_backend
from visgen.nn.routing import Router, TaskRows

TASK = TaskRows(("a",), torch.tensor([0]))


def bank(rows=40, width=8, hidden=12, experts=6, k=2, dtype=torch.float32, device="cpu", seed=0):
    """Rows, gates, choices and the four parameters of a bank; expert 5 has no row."""
    g = torch.Generator().manual_seed(seed)
    shapes = [(experts, hidden, width), (experts, hidden), (experts, width, hidden), (experts, width)]
    x, *parameters = (torch.randn(s, generator=g).mul(0.5).to(device, dtype) for s in [(rows, width), *shapes])
    chosen = torch.rand(rows, experts - 1, generator=g).topk(k).indices.to(device)
    return x, torch.rand(rows, k, generator=g).to(device, dtype), chosen, *parameters


def run(function, given):
    """The output of `function` and the gradients of everything that has one."""
    leaves = [t.clone().requires_grad_() if t.is_floating_point() else t for t in given]
    out = function(*leaves)
    probe = torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out).to(out.dtype)
    out.backward(probe)
    return [out.detach(), *(t.grad for t in leaves if t.requires_grad)]


def test_an_unknown_name_is_an_error(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "lop")
    with pytest.raises(ConfigError, match="VISGEN_MOE_BACKEND is 'lop'; did you mean 'loop'"):
        expert_mlp(*bank())
    monkeypatch.setenv(ENVIRONMENT, "cuda")
    with pytest.raises(ConfigError, match="use one of reference, loop"):
        grouped_linear(torch.zeros(2, 4), torch.zeros(1, 4, 4), torch.tensor([2]))


def test_a_backend_that_cannot_compute_this_is_an_error(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "cuda_grouped")
    with pytest.raises(ConfigError, match="'cuda_grouped' but the tensors are on cpu and it needs CUDA; unset it"):
        expert_mlp(*bank())


def test_a_gpu_takes_the_grouped_product_only_where_it_can(monkeypatch):
    """The rule itself, with tensors that only say that they are on a GPU."""
    capability = (9, 0)
    monkeypatch.setattr(moe_backend, "_capability", lambda index: capability)

    class OnGpu:
        def __init__(self, dtype, shape):
            self.dtype, self.shape, self.device = dtype, shape, torch.device("cuda", 0)

    half, whole = torch.bfloat16, torch.float32
    assert choose_backend(OnGpu(half, (9, 16)), OnGpu(half, (2, 8, 16))) == "cuda_grouped"
    assert choose_backend(OnGpu(whole, (9, 16)), OnGpu(whole, (2, 8, 16))) == "loop"
    assert choose_backend(OnGpu(half, (9, 16)), OnGpu(half, (2, 12, 16))) == "loop"  # 24 bytes a row
    capability = (7, 5)
    assert choose_backend(OnGpu(half, (9, 16)), OnGpu(half, (2, 8, 16))) == "loop"
    monkeypatch.setattr(moe_backend, "torch_grouped_mm", lambda: None)
    capability = (9, 0)
    assert choose_backend(OnGpu(half, (9, 16)), OnGpu(half, (2, 8, 16))) == "loop"


def test_the_choice_is_logged_once(monkeypatch, caplog):
    monkeypatch.setenv(ENVIRONMENT, "loop")
    moe_backend._note.cache_clear()
    with caplog.at_level(logging.INFO, logger="visgen.nn.moe_backend"):
        for _ in range(3):
            expert_mlp(*bank())
    assert [r.getMessage() for r in caplog.records] == ["experts on cpu in float32 run on backend 'loop'"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.05)]
)
def test_backends_agree_with_gradients(backend, dtype, tolerance):
    given = bank(dtype=dtype)
    exact = run(masked_mlp, [t.double() if t.is_floating_point() else t for t in given])
    for ours, theirs in zip(run(expert_mlp, given), exact, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance * float(theirs.abs().max()))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_few_rows_and_one_expert_for_all(backend, rows):
    given = list(bank(rows=rows))
    given[2] = torch.tensor([[4, 1]]).expand(rows, 2)
    for ours, theirs in zip(run(expert_mlp, given), run(masked_mlp, given), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_frozen_bank_and_rows_without_gradient(backend):
    x, gates, chosen, *parameters = bank()
    gates.requires_grad_()
    expert_mlp(x, gates, chosen, *parameters).sum().backward()
    by_hand = torch.stack([masked_mlp(x, torch.ones(40, 1), chosen[:, j : j + 1], *parameters) for j in (0, 1)], 1)
    torch.testing.assert_close(gates.grad, by_hand.sum(-1), rtol=1e-4, atol=1e-4)
    assert x.grad is None and all(p.grad is None for p in parameters)


def test_strided_rows_gates_and_weights(backend):
    given = bank()
    strided = [t.t().contiguous().t() if t.ndim == 2 else t.transpose(1, 2).contiguous().transpose(1, 2) for t in given]
    assert not any(t.is_contiguous() for t in strided)
    torch.testing.assert_close(expert_mlp(*strided), expert_mlp(*given), rtol=1e-6, atol=1e-6)


def test_frozen_experts_cost_no_gradient_and_the_others_keep_theirs():
    x, gates, chosen, *parameters = bank()
    leaves = [t.requires_grad_() for t in (x, gates, *parameters)]
    found = []
    for frozen in ((), (0, 4)):
        y = expert_mlp(x, gates, chosen, *parameters, frozen)
        found.append(torch.autograd.grad(y.square().sum(), leaves))
    trained = [1, 2, 3, 5]
    for i, (full, part) in enumerate(zip(*found, strict=True)):
        if i < 2:  # rows and gates
            assert torch.equal(part, full)
        else:
            assert full[[0, 4]].any() and not part[[0, 4]].any() and torch.equal(part[trained], full[trained])


def test_the_fused_operator_keeps_the_rules_of_custom_operators():
    x, gates, chosen, *parameters = (t.requires_grad_() if t.is_floating_point() else t for t in bank(rows=10))
    d = dispatch_rows(chosen, 6)
    given = (x, gates, *parameters, d.order, d.inverse, d.counts, True, [1])
    found = torch.library.opcheck(torch.ops.visgen.expert_mlp.default, given)
    assert set(found.values()) == {"SUCCESS"} and len(found) == 4


class Alone(torch.nn.Module):
    """A layer that routes one task, as a module of one input."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.layer = kind(16, 12, Router(16, 6, 2, ("a",)))

    def forward(self, x):
        return self.layer(x, TaskRows(("a",), torch.tensor([0])))[0]


@pytest.mark.parametrize("kind", [MoEMlp, MoEAttention])
def test_one_graph_for_any_number_of_tokens(kind):
    """fullgraph=True raises at a graph break; aot_eager traces forward and backward as the default compiler does."""
    module = Alone(kind)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for tokens in (7, 13):
        found = []
        for form in (compiled, module):
            x = torch.linspace(-1, 1, 2 * tokens * 16).view(2, tokens, 16).requires_grad_()
            module.zero_grad()
            y = form(x)
            y.square().sum().backward()
            found.append([y, x.grad, *(p.grad.clone() for p in module.parameters())])
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [MoEMlp, MoEAttention])
def test_exports_with_any_number_of_tokens(kind):
    module = Alone(kind).eval()
    tokens = torch.export.Dim("tokens", min=2, max=4096)
    program = torch.export.export(module, (torch.randn(2, 9, 16),), dynamic_shapes=({1: tokens},))
    named = [n.target for n in program.graph.nodes if "visgen" in str(n.target)]
    assert named, "the experts are one operator in the graph"
    for size in (2, 31):
        x = torch.randn(2, size, 16)
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_gpu_agrees_with_the_cpu_twice_alike(dtype):
    given = bank(rows=300, width=64, hidden=128, k=3, dtype=dtype, device="cuda")
    exact = run(masked_mlp, [t.cpu().double() if t.is_floating_point() else t.cpu() for t in given])
    first, second = run(expert_mlp, given), run(expert_mlp, given)
    for ours, again, theirs in zip(first, second, exact, strict=True):
        assert torch.equal(ours, again)
        tolerance = (0.05 if dtype == torch.bfloat16 else 1e-4) * float(theirs.abs().max())
        torch.testing.assert_close(ours.cpu().double(), theirs, rtol=0.05, atol=tolerance)


@pytest.mark.gpu
def test_a_gpu_of_capability_9_never_waits():
    if torch.cuda.get_device_capability() < (9, 0):
        pytest.skip("before capability 9.0 torch's grouped product waits for the GPU")
    x, gates, chosen, *parameters = bank(rows=256, width=64, hidden=64, dtype=torch.bfloat16, device="cuda")
    given = [t.requires_grad_() for t in (x, gates, *parameters)]
    dispatch_rows(chosen, 6)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        grouped_mlp(given[0], given[1], dispatch_rows(chosen, 6), *given[2:]).square().sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
