"""The arithmetic of a bank of expert MLPs for rows that each visit k of them.

On a CPU it is one operator, `visgen::expert_mlp`, that takes an expert from gather to output while its rows are in the
cache; elsewhere two `visgen::grouped_linear`. Both have fake kernels, so a compiled or exported graph has no breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .compiled_kernel import compiled_expert_mlp
from .dispatch import Dispatch, cast_for_autocast, combine, dispatch_rows, gather_rows, sum_slots
from .grouped_linear import grouped_linear, row_sizes
from .moe_backend import choose_backend, wants_reference

__all__ = ["expert_mlp", "grouped_mlp", "masked_mlp", "sliced_mlp"]


def expert_mlp(
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    frozen: Sequence[int] = (),
) -> Tensor:
    """sum_j g_j * (w2[e_j] GELU(w1[e_j] x + b1[e_j]) + b2[e_j]) for each row.

    Args:
        x: Rows (S, D).
        weights: Gates g (S, k).
        experts: Expert of each gate (S, k) int64, distinct within a row.
        w1, b1: (E, h, D) and (E, h).
        w2, b2: (E, D, h) and (E, D).
        frozen: Experts whose weights need no gradient though the others' do; it may then come out as zeros.
    Returns:
        (S, D); under autocast in its dtype.
    """
    num_experts, k = w1.shape[0], experts.shape[1]
    x, weights, w1, b1, w2, b2 = cast_for_autocast(x, weights, w1, b1, w2, b2)
    weights = weights.to(x.dtype)
    if wants_reference():
        return masked_mlp(x, weights, experts, w1, b1, w2, b2)
    if k == num_experts:
        return _all_experts(x, weights, experts, w1, b1, w2, b2)
    dispatch = dispatch_rows(experts, num_experts)
    run = sliced_mlp if x.device.type == "cpu" else grouped_mlp
    return run(x, weights, dispatch, w1, b1, w2, b2, frozen)


def _all_experts(x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """When every row visits every expert: two dense layers with gates in between, and no sorting."""
    num_experts, hidden, width = w1.shape
    gates = torch.zeros_like(weights).scatter(1, experts, weights)  # (S, E) in the order of experts
    inner = F.gelu(F.linear(x, w1.reshape(-1, width), b1.reshape(-1)))
    inner = (inner.view(-1, num_experts, hidden) * gates.unsqueeze(-1)).view(-1, num_experts * hidden)
    return F.linear(inner, w2.permute(1, 0, 2).reshape(width, -1)) + gates @ b2


def masked_mlp(x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """The same by a loop over experts with a mask each: the backend "reference", and what a first version would be."""
    y = torch.zeros_like(x)
    for e in range(w1.shape[0]):
        row, slot = (experts == e).nonzero(as_tuple=True)
        out = F.linear(F.gelu(F.linear(x[row], w1[e], b1[e])), w2[e], b2[e])
        y = y.index_add(0, row, out * weights[row, slot].unsqueeze(1))
    return y


def grouped_mlp(
    x: Tensor,
    weights: Tensor,
    dispatch: Dispatch,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    frozen: Sequence[int] = (),
) -> Tensor:
    """The experts as two grouped products over all rows, which suits an accelerator."""
    hidden = F.gelu(grouped_linear(gather_rows(x, dispatch), w1, dispatch.counts, b1, frozen))
    return combine(grouped_linear(hidden, w2, dispatch.counts, b2, frozen), weights, dispatch)


def sliced_mlp(
    x: Tensor,
    weights: Tensor,
    dispatch: Dispatch,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    frozen: Sequence[int] = (),
) -> Tensor:
    """The same, one expert after the other from gather to output, so that its rows stay in the cache of a CPU.

    Only the pre-activations are kept for the backward pass; it gathers the inputs and applies GELU once more.
    """
    given = (x.contiguous(), weights.contiguous(), w1.contiguous(), b1, w2.contiguous(), b2)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    return _expert_mlp(*given, dispatch.order, dispatch.inverse, dispatch.counts, keep, list(frozen))[0]


@torch.library.custom_op("visgen::expert_mlp", mutates_args=())
def _expert_mlp(
    x: Tensor,
    weights: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    order: Tensor,
    inverse: Tensor,
    counts: Tensor,
    keep: bool,
    frozen: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Give the output (S, D) and, with `keep`, the pre-activations (S k, h) in expert order."""
    backend = choose_backend(x, w1, w2)
    k = weights.shape[1]
    tokens = order // k
    sizes = row_sizes(counts, tokens)
    inner = x.new_empty(len(tokens) if keep else 0, w1.shape[1])
    if backend == "compiled":
        return compiled_expert_mlp(x, weights, w1, b1, w2, b2, tokens, inverse, counts, inner), inner
    scratch = inner if keep else x.new_empty(max(sizes), w1.shape[1])
    y = x.new_empty(len(tokens), w2.shape[1])
    parts = zip(
        tokens.split(sizes),
        scratch.split(sizes) if keep else [scratch[:size] for size in sizes],
        y.split(sizes),
        w1.transpose(1, 2).unbind(0),
        b1.unbind(0),
        w2.transpose(1, 2).unbind(0),
        b2.unbind(0),
        strict=True,
    )
    for token, hidden, out, up, up_bias, down, down_bias in parts:
        if len(token):
            torch.addmm(up_bias, x.index_select(0, token), up, out=hidden)
            torch.addmm(down_bias, F.gelu(hidden), down, out=out)
    return sum_slots(y, inverse, k, weights), inner


@_expert_mlp.register_fake
def _(
    x: Tensor,
    weights: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    order: Tensor,
    inverse: Tensor,
    counts: Tensor,
    keep: bool,
    frozen: Sequence[int],
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape[0], w2.shape[1]), x.new_empty(order.shape[0] if keep else 0, w1.shape[1])


@torch.library.custom_op("visgen::expert_mlp_backward", mutates_args=())
def _expert_mlp_backward(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    w1: Tensor,
    w2: Tensor,
    b2: Tensor,
    inner: Tensor,
    order: Tensor,
    inverse: Tensor,
    counts: Tensor,
    needs: Sequence[bool],
    frozen: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, the gates, w1, b1, w2 and b2; one that is not needed has no elements, of `frozen` ones zeros."""
    need_x, need_gates, need_w1, need_b1, need_w2, need_b2 = needs
    k = weights.shape[1]
    tokens = order // k
    sizes = row_sizes(counts, tokens)
    gates = weights.reshape(-1).index_select(0, order).unsqueeze(1)
    grad_gates = torch.empty_like(gates)
    grad_rows = x.new_empty(len(tokens) if need_x else 0, x.shape[1])
    # written expert by expert: an index under autograd would allocate a full (E, ...) zero for each
    grad_w1, grad_w2 = (torch.empty_like(w) if need else w.new_empty(0) for w, need in ((w1, need_w1), (w2, need_w2)))
    grad_b1, grad_b2 = w1.new_zeros(w1.shape[:2] if need_b1 else 0), w2.new_zeros(b2.shape if need_b2 else 0)
    parts = zip(tokens.split(sizes), inner.split(sizes), gates.split(sizes), grad_gates.split(sizes), strict=True)
    rows = grad_rows.split(sizes) if need_x else ()
    for e, (token, hidden, gate, grad_gate) in enumerate(parts):
        trains = e not in frozen and len(token) > 0
        if not trains:
            for buffer, need in ((grad_w1, need_w1), (grad_w2, need_w2)):
                if need:
                    buffer[e].zero_()
        if not len(token):
            continue
        active = F.gelu(hidden)
        out = grad.index_select(0, token)  # gradient of the row's output, before its gate
        back = out @ w2[e]
        # <out, y_e> without y_e: W2 is already applied to the other side
        torch.add((back * active).sum(1, keepdim=True), (out @ b2[e]).unsqueeze(1), out=grad_gate)
        out.mul_(gate)
        if need_w2 and trains:
            torch.mm(out.t(), active, out=grad_w2[e])
        if need_b2 and trains:
            torch.sum(out, 0, out=grad_b2[e])
        back = torch.ops.aten.gelu_backward(back.mul_(gate), hidden)
        if need_w1 and trains:
            torch.mm(back.t(), x.index_select(0, token), out=grad_w1[e])
        if need_b1 and trains:
            torch.sum(back, 0, out=grad_b1[e])
        if need_x:
            torch.mm(back, w1[e], out=rows[e])
    return (
        sum_slots(grad_rows, inverse, k) if need_x else x.new_empty(0),
        grad_gates.view(-1).index_select(0, inverse).view(-1, k) if need_gates else x.new_empty(0),
        grad_w1,
        grad_b1,
        grad_w2,
        grad_b2,
    )


@_expert_mlp_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weights: Tensor,
    w1: Tensor,
    w2: Tensor,
    b2: Tensor,
    inner: Tensor,
    order: Tensor,
    inverse: Tensor,
    counts: Tensor,
    needs: Sequence[bool],
    frozen: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    shapes = (x.shape, weights.shape, w1.shape, w1.shape[:2], w2.shape, b2.shape)
    first, *rest = (x.new_empty(shape if need else 0) for shape, need in zip(shapes, needs, strict=True))
    return first, rest[0], rest[1], rest[2], rest[3], rest[4]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weights, w1, _, w2, b2, order, inverse, counts, _, ctx.frozen = inputs
    inner = output[1]
    ctx.mark_non_differentiable(inner)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weights, w1, w2, b2, inner, order, inverse, counts)


def _backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:6])
    if grad is None:
        return (None,) * 11
    # an expanded gradient (stride 0) is legal in autograd and slow in kernels
    found = _expert_mlp_backward(grad.contiguous(), *ctx.saved_tensors, needs, ctx.frozen)
    return (*(g if need else None for g, need in zip(found, needs, strict=True)), *(None,) * 5)


_expert_mlp.register_autograd(_backward, setup_context=_setup_context)
