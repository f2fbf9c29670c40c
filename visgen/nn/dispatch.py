"""The way of rows to their experts and back: sort by expert, gather, and a weighted sum per row.

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

__all__ = [
    "Dispatch",
    "cast_for_autocast",
    "combine",
    "dispatch_rows",
    "gather_rows",
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


def cast_for_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Cast to the autocast dtype where autocast is on, as built-in products do; custom functions must ask for it."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t.to(dtype) for t in tensors)
