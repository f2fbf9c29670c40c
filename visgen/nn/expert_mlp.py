"""The arithmetic of a bank of expert MLPs for rows that each visit k of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .grouped_linear import Dispatch, cast_for_autocast, combine, dispatch_rows, gather_rows, grouped_linear, sum_slots

__all__ = ["expert_mlp", "grouped_mlp", "sliced_mlp"]


def expert_mlp(x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """sum_j g_j * (w2[e_j] GELU(w1[e_j] x + b1[e_j]) + b2[e_j]) for each row.

    Args:
        x: Rows (S, D).
        weights: Gates g (S, k).
        experts: Expert of each gate (S, k) int64, distinct within a row.
        w1, b1: (E, h, D) and (E, h).
        w2, b2: (E, D, h) and (E, D).
    Returns:
        (S, D); under autocast in its dtype.
    """
    num_experts, k = w1.shape[0], experts.shape[1]
    x, weights, w1, b1, w2, b2 = cast_for_autocast(x, weights, w1, b1, w2, b2)
    weights = weights.to(x.dtype)
    if k == num_experts:
        return _all_experts(x, weights, experts, w1, b1, w2, b2)
    dispatch = dispatch_rows(experts, num_experts)
    run = sliced_mlp if x.device.type == "cpu" else grouped_mlp
    return run(x, weights, dispatch, w1, b1, w2, b2)


def _all_experts(x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """When every row visits every expert: two dense layers with gates in between, and no sorting."""
    num_experts, hidden, width = w1.shape
    gates = torch.zeros_like(weights).scatter(1, experts, weights)  # (S, E) in the order of experts
    inner = F.gelu(F.linear(x, w1.reshape(-1, width), b1.reshape(-1)))
    inner = (inner.view(-1, num_experts, hidden) * gates.unsqueeze(-1)).view(-1, num_experts * hidden)
    return F.linear(inner, w2.permute(1, 0, 2).reshape(width, -1)) + gates @ b2


def grouped_mlp(
    x: Tensor, weights: Tensor, dispatch: Dispatch, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> Tensor:
    """The experts as two grouped products over all rows, which suits an accelerator."""
    hidden = F.gelu(grouped_linear(gather_rows(x, dispatch), w1, dispatch.counts, b1))
    return combine(grouped_linear(hidden, w2, dispatch.counts, b2), weights, dispatch)


def sliced_mlp(
    x: Tensor, weights: Tensor, dispatch: Dispatch, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> Tensor:
    """The same, one expert after the other from gather to output, so that its rows stay in the cache of a CPU.

    Only the pre-activations are kept for the backward pass; it gathers the inputs and applies GELU once more.
    """
    # tensors one by one, because a tracer does not look into a Dispatch
    return _SlicedMlp.apply(x.contiguous(), weights, w1, b1, w2, b2, dispatch.order, dispatch.inverse, dispatch.counts)


class _SlicedMlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weights: Tensor,
        w1: Tensor,
        b1: Tensor,
        w2: Tensor,
        b2: Tensor,
        order: Tensor,
        inverse: Tensor,
        counts: Tensor,
    ) -> Tensor:
        sizes, k = counts.tolist(), weights.shape[1]
        tokens = order // k
        keep = any(ctx.needs_input_grad)
        inner = x.new_empty(len(tokens) if keep else max(sizes), w1.shape[1])
        y = x.new_empty(len(tokens), w2.shape[1])
        parts = zip(
            tokens.split(sizes),
            inner.split(sizes) if keep else [inner[:size] for size in sizes],
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
        if keep:
            ctx.save_for_backward(x, weights, w1, w2, b2, inner, tokens, order, inverse)
            ctx.sizes = sizes
        return sum_slots(y, inverse, k, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, w1, w2, b2, inner, tokens, order, inverse = ctx.saved_tensors
        need_x, need_gates, need_w1, need_b1, need_w2, need_b2 = ctx.needs_input_grad[:6]
        sizes, k = ctx.sizes, weights.shape[1]
        grad = grad.contiguous()
        gates = weights.reshape(-1).index_select(0, order)
        grad_rows = torch.empty(len(tokens), x.shape[1], dtype=x.dtype, device=x.device)
        grad_gates = torch.empty_like(gates)
        # written expert by expert: an index under autograd would allocate a full (E, ...) zero for each
        grad_w1, grad_w2 = torch.zeros_like(w1), torch.zeros_like(w2)
        grad_b1, grad_b2 = w1.new_zeros(w1.shape[:2]), torch.zeros_like(b2)
        start = 0
        for e, size in enumerate(sizes):
            if not size:
                continue
            here = slice(start, start + size)
            start += size
            gate = gates[here].unsqueeze(1)
            hidden = inner[here]
            active = F.gelu(hidden)
            out = grad.index_select(0, tokens[here])  # gradient of the row's output, before its gate
            back = out @ w2[e]
            # <out, y_e> without y_e: W2 is already applied to the other side
            torch.add((back * active).sum(1), out @ b2[e], out=grad_gates[here])
            out.mul_(gate)
            if need_w2:
                torch.mm(out.t(), active, out=grad_w2[e])
            if need_b2:
                torch.sum(out, 0, out=grad_b2[e])
            back = torch.ops.aten.gelu_backward(back.mul_(gate), hidden)
            if need_w1:
                torch.mm(back.t(), x.index_select(0, tokens[here]), out=grad_w1[e])
            if need_b1:
                torch.sum(back, 0, out=grad_b1[e])
            if need_x:
                torch.mm(back, w1[e], out=grad_rows[here])
        return (
            sum_slots(grad_rows, inverse, k) if need_x else None,
            grad_gates.index_select(0, inverse).view(-1, k) if need_gates else None,
            grad_w1 if need_w1 else None,
            grad_b1 if need_b1 else None,
            grad_w2 if need_w2 else None,
            grad_b2 if need_b2 else None,
            None,
            None,
            None,
        )
