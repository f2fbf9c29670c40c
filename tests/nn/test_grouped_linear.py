"""grouped_linear against a row-by-row loop, on every backend that runs here; the way of rows and back."""

import pytest
import torch

from visgen.errors import ConfigError
from visgen.nn.grouped_linear import combine, dispatch_rows, gather_rows, grouped_linear, restore_rows, sort_rows


def by_row(x, w, counts, bias):
    owner = [e for e, n in enumerate(counts.tolist()) for _ in range(n)]
    return torch.stack([w[e] @ row + (0 if bias is None else bias[e]) for e, row in zip(owner, x, strict=True)])


@pytest.mark.parametrize("counts", [[3, 0, 4, 1], [8, 0, 0, 0], [0, 0, 0, 8], [2, 2, 2, 2]])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_a_loop_over_rows_with_gradients(counts, with_bias, backend):
    torch.manual_seed(0)
    counts = torch.tensor(counts)
    given = [torch.randn(8, 5, dtype=torch.float64), torch.randn(4, 3, 5, dtype=torch.float64)]
    if with_bias:
        given.append(torch.randn(4, 3, dtype=torch.float64))
    probe = torch.randn(8, 3, dtype=torch.float64)
    found = []
    for function in (grouped_linear, by_row):
        leaves = [g.clone().requires_grad_() for g in given]
        out = function(leaves[0], leaves[1], counts, leaves[2] if with_bias else None)
        (out * probe).sum().backward()
        found.append([out, *(leaf.grad for leaf in leaves)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_gradcheck_with_an_empty_expert(backend):
    torch.manual_seed(0)
    counts = torch.tensor([2, 0, 3])
    shapes = [(5, 3), (3, 2, 3), (3, 2)]
    x, w, b = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes)
    assert torch.autograd.gradcheck(lambda x, w, b: grouped_linear(x, w, counts, b), (x, w, b))
    w.requires_grad_(False)  # frozen experts: the weight gradient is skipped
    assert torch.autograd.gradcheck(lambda x, b: grouped_linear(x, w, counts, b), (x, b))


def test_frozen_experts_cost_no_gradient_and_the_others_keep_theirs(monkeypatch):
    monkeypatch.setenv("VISGEN_MOE_BACKEND", "loop")
    torch.manual_seed(0)
    x, w, counts = torch.randn(9, 3), torch.randn(4, 2, 3, requires_grad=True), torch.tensor([2, 3, 0, 4])
    (full,) = torch.autograd.grad(grouped_linear(x, w, counts).square().sum(), w)
    (part,) = torch.autograd.grad(grouped_linear(x, w, counts, frozen=[0, 3]).square().sum(), w)
    assert full[0].any() and full[3].any()
    assert not part[[0, 2, 3]].any() and torch.equal(part[1], full[1])


def test_no_rows_at_all(backend):
    x = torch.zeros(0, 3, requires_grad=True)
    w = torch.ones(2, 4, 3, requires_grad=True)
    out = grouped_linear(x, w, torch.tensor([0, 0]), torch.ones(2, 4))
    assert out.shape == (0, 4)
    out.sum().backward()
    assert torch.equal(w.grad, torch.zeros(2, 4, 3))


def test_expanded_gradient_and_strided_rows(backend):
    torch.manual_seed(0)
    x, w = torch.randn(3, 6).t(), torch.randn(2, 4, 3, requires_grad=True)
    counts = torch.tensor([2, 4])
    grouped_linear(x, w, counts).sum().backward()  # sum hands back a gradient of stride 0
    expected = torch.stack([x[:2].sum(0).expand(4, 3), x[2:].sum(0).expand(4, 3)])
    torch.testing.assert_close(w.grad, expected)


def test_autocast_gives_bfloat16_and_float32_gradients(backend):
    torch.manual_seed(0)
    x, w, b = torch.randn(6, 4), torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    counts = torch.tensor([2, 4])
    with torch.autocast("cpu", torch.bfloat16):
        out = grouped_linear(x, w, counts, b)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), grouped_linear(x, w, counts, b), rtol=0.05, atol=0.05)
    out.float().sum().backward()
    assert w.grad.dtype == b.grad.dtype == torch.float32


def test_refuses_weights_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"rows \(6, 4\), weights \(2, 3, 5\) and counts \(2,\)"):
        grouped_linear(torch.zeros(6, 4), torch.zeros(2, 3, 5), torch.tensor([2, 4]))


def test_refuses_counts_that_miss_rows(monkeypatch):
    with pytest.raises(ConfigError, match="counts sum to 5 but there are 6 rows"):
        grouped_linear(torch.zeros(6, 4), torch.zeros(2, 3, 4), torch.tensor([2, 3]))


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_operator_keeps_the_rules_of_custom_operators(with_bias):
    """torch's own check: schema, fake kernel, derivative, and compilation with dynamic shapes."""
    torch.manual_seed(0)
    shapes = [(8, 5), (4, 3, 5), (4, 3)]
    x, w, b = (torch.randn(s, requires_grad=True) for s in shapes)
    given = (x, w, torch.tensor([3, 0, 4, 1]), b if with_bias else None, [2])
    found = torch.library.opcheck(torch.ops.visgen.grouped_linear.default, given)
    assert set(found.values()) == {"SUCCESS"} and len(found) == 4


def test_dispatch_sorts_stably_and_comes_back():
    experts = torch.tensor([[2, 0], [0, 1], [2, 1]])
    found = dispatch_rows(experts, 4)
    assert found.order.tolist() == [1, 2, 3, 5, 0, 4]
    assert found.counts.tolist() == [2, 2, 2, 0]
    x = torch.arange(6.0).view(3, 2)
    rows = gather_rows(x, found)
    assert torch.equal(rows, x[[0, 1, 1, 2, 0, 2]])
    assert torch.equal(restore_rows(rows, found), x.repeat_interleave(2, 0))
    assert torch.equal(sort_rows(restore_rows(rows, found), found), rows)


def test_way_there_and_back_has_the_right_gradients():
    torch.manual_seed(0)
    found = dispatch_rows(torch.rand(4, 5).topk(2).indices, 5)
    x, y, g = torch.randn(4, 3), torch.randn(8, 3), torch.rand(4, 2)
    leaves = [t.double().requires_grad_() for t in (x, y, g)]
    assert torch.autograd.gradcheck(lambda x: gather_rows(x, found), leaves[:1])
    assert torch.autograd.gradcheck(lambda y: restore_rows(sort_rows(y, found) * 2, found), leaves[1:2])
    assert torch.autograd.gradcheck(lambda y, g: combine(y, g, found), leaves[1:])
    torch.testing.assert_close(combine(gather_rows(x, found), g, found), x * g.sum(1, keepdim=True))
