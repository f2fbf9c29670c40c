"""Dropless dispatch of rows to experts: sort by expert, one matrix product per contiguous slice, gather back.

Nothing is dropped and no row depends on another row of the batch. Every step is deterministic: the way back is a
gather by the inverse permutation, never a scatter with atomics. Source: Gale et al. 2022 (MegaBlocks),
arXiv:2211.15841, section 5, for the dropless formulation; here the blocks are ragged slices and not padded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import ConfigError

__all__ = [
    "Dispatch",
    "cast_for_autocast",
    "combine",
    "dispatch_rows",
    "gather_rows",
    "grouped_linear",
    "restore_rows",
    "sort_rows",
    "sum_slots",
]


@dataclass(frozen=True)
class Dispatch:
    """Where each of S rows goes when it visits k experts; assignment s * k + j is the j-th expert of row s.

    Attributes:
        order: (S * k,) int64, assignments sorted by expert, ties in row order.
        inverse: (S * k,) int64, the place of each assignment in `order`.
        counts: (E,) int64, assignments per expert.
        k: Experts per row.
    """

    order: Tensor
    inverse: Tensor
    counts: Tensor
    k: int


def dispatch_rows(experts: Tensor, num_experts: int) -> Dispatch:
    """Sort the assignments `experts` (S, k) int64 by expert."""
    flat = experts.reshape(-1)
    order = torch.argsort(flat, stable=True)
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.numel(), device=order.device)
    # scatter_add_ and not bincount: its length is fixed, so a GPU need not wait for the largest value
    counts = torch.zeros(num_experts, dtype=torch.int64, device=flat.device)
    counts.scatter_add_(0, flat, torch.ones_like(flat))
    return Dispatch(order, inverse, counts, experts.shape[-1])


def sum_slots(y: Tensor, inverse: Tensor, k: int, weights: Tensor | None = None) -> Tensor:
    """sum_j weights[s, j] * y[inverse[s * k + j]] (S, D), in the order of slots and without a copy (S, k, D).

    Args:
        y: (S * k, D).
        inverse: (S * k,) int64.
        weights: (S, k) of the dtype of `y`, or None for ones.
    """
    return F.embedding_bag(inverse.view(-1, k), y, mode="sum", per_sample_weights=weights)


class _GatherRows(torch.autograd.Function):
    """x[order // k]; backward sums the k copies in slot order, which an index_add would do in any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor, k: int) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.k = k
        return x.index_select(0, order // k if k > 1 else order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (inverse,) = ctx.saved_tensors
        grad = grad.contiguous()
        rows = grad.index_select(0, inverse) if ctx.k == 1 else sum_slots(grad, inverse, ctx.k)
        return rows, None, None, None


def gather_rows(x: Tensor, dispatch: Dispatch) -> Tensor:
    """Copy rows (S, D) into expert order: (S * k, D)."""
    return _GatherRows.apply(x, dispatch.order, dispatch.inverse, dispatch.k)


def sort_rows(x: Tensor, dispatch: Dispatch) -> Tensor:
    """Bring per-assignment rows (S * k, D) from assignment order into expert order."""
    return _GatherRows.apply(x, dispatch.order, dispatch.inverse, 1)


def restore_rows(x: Tensor, dispatch: Dispatch) -> Tensor:
    """Bring per-assignment rows (S * k, D) from expert order back into assignment order."""
    return _GatherRows.apply(x, dispatch.inverse, dispatch.order, 1)


class _Combine(torch.autograd.Function):
    """sum_j weights[s, j] * y[inverse[s * k + j]]."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weights: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(y, weights, order, inverse)
        return sum_slots(y, inverse, weights.shape[1], weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        y, weights, order, inverse = ctx.saved_tensors
        rows, k = weights.shape
        # work in expert order: the gradient of a row of y is the gate times the gradient of its token
        grad_rows = grad.index_select(0, order // k)
        grad_weights = (grad_rows * y).sum(-1).index_select(0, inverse).view(rows, k)
        grad_y = grad_rows.mul_(weights.reshape(-1).index_select(0, order).unsqueeze(1))
        return grad_y, grad_weights, None, None


def combine(y: Tensor, weights: Tensor, dispatch: Dispatch) -> Tensor:
    """Weighted sum of the k expert outputs of each row.

    Args:
        y: Expert outputs in expert order (S * k, D).
        weights: Gates (S, k), cast to the dtype of `y`.
    Returns:
        (S, D).
    """
    return _Combine.apply(y, weights.to(y.dtype), dispatch.order, dispatch.inverse)


class _GroupedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None) -> Tensor:
        sizes = counts.tolist()
        out = x.new_empty(x.shape[0], w.shape[1])
        # views of all experts are made in one call each: at 75 rows per expert Python costs as much as the products
        rows, targets, matrices = x.split(sizes), out.split(sizes), w.transpose(1, 2).unbind(0)
        if bias is None:
            for row, matrix, target in zip(rows, matrices, targets, strict=True):
                if len(row):
                    torch.mm(row, matrix, out=target)
        else:
            for row, matrix, target, shift in zip(rows, matrices, targets, bias.unbind(0), strict=True):
                if len(row):
                    torch.addmm(shift, row, matrix, out=target)
        ctx.save_for_backward(x, w)
        ctx.sizes, ctx.has_bias = sizes, bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, Tensor | None]:
        x, w = ctx.saved_tensors
        need_x, need_w, _, need_bias = ctx.needs_input_grad
        grad = grad.contiguous()  # an expanded gradient (stride 0) is legal in autograd and slow or refused in kernels
        pieces = grad.split(ctx.sizes)
        grad_x = grad_w = grad_bias = None
        if need_x:
            grad_x = torch.empty_like(x)
            for piece, matrix, target in zip(pieces, w.unbind(0), grad_x.split(ctx.sizes), strict=True):
                if len(piece):
                    torch.mm(piece, matrix, out=target)
        if need_w:
            # one buffer for all experts: indexing w under autograd would allocate a full (E, out, in) zero per expert
            grad_w = torch.empty_like(w)
            for piece, row, target in zip(pieces, x.split(ctx.sizes), grad_w.unbind(0), strict=True):
                if len(piece):
                    torch.mm(piece.t(), row, out=target)
                else:
                    target.zero_()
        if need_bias and ctx.has_bias:
            grad_bias = torch.stack([piece.sum(0) for piece in pieces])
        return grad_x, grad_w, None, grad_bias


def grouped_linear(x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply `x @ w[e].T + bias[e]` to each expert's contiguous slice of rows.

    Args:
        x: Rows in expert order (R, in).
        w: Weights (E, out, in), contiguous.
        counts: Rows per expert (E,) int64 with sum R; zeros are fine.
        bias: (E, out) or None.
    Returns:
        (R, out). Under autocast the product runs in the autocast dtype; everything is cast once, here.
    Raises:
        ConfigError: The counts do not fit the rows, or the weights do not fit the experts.
    """
    if w.ndim != 3 or counts.shape != w.shape[:1] or x.shape[-1] != w.shape[2]:
        raise ConfigError(
            f"grouped_linear got rows {tuple(x.shape)}, weights {tuple(w.shape)} and counts {tuple(counts.shape)}; "
            "weights must be (E, out, in), rows (R, in) and counts (E,)."
        )
    if bias is None:
        x, w = cast_for_autocast(x, w)
    else:
        x, w, bias = cast_for_autocast(x, w, bias)
    return _GroupedLinear.apply(x.contiguous(), w, counts, bias)


def cast_for_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast to the autocast dtype where autocast is on, as built-in products do; custom functions must ask for it."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t.to(dtype) for t in tensors)
