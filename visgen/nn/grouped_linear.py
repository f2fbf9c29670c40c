"""The operator `visgen::grouped_linear`: each expert's matrix on its own contiguous slice of rows.

One operator with a fake kernel and a derivative of its own, so that torch.compile and torch.export see a single node
whatever computes it; `visgen.nn.moe_backend` says what does. torch's own grouped product is no substitute: its fake
kernel takes bfloat16 only, and its derivative refuses an expanded gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from .compiled_kernel import compiled_grouped_linear
from .dispatch import (
    Dispatch,
    cast_for_autocast,
    combine,
    dispatch_rows,
    gather_rows,
    restore_rows,
    sort_rows,
    sum_slots,
)
from .moe_backend import choose_backend, torch_grouped_mm

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


def grouped_linear(
    x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None = None, frozen: Sequence[int] = ()
) -> Tensor:
    """Apply `x @ w[e].T + bias[e]` to each expert's contiguous slice of rows.

    Args:
        x: Rows in expert order (R, in).
        w: Weights (E, out, in), contiguous.
        counts: Rows per expert (E,) int64 with sum R; zeros are fine.
        bias: (E, out) or None.
        frozen: Experts whose weights need no gradient though the others' do; it may then come out as zeros.
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
    return _grouped_linear(x.contiguous(), w.contiguous(), counts, bias, list(frozen))


@torch.library.custom_op("visgen::grouped_linear", mutates_args=())
def _grouped_linear(x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None, frozen: Sequence[int]) -> Tensor:
    backend = choose_backend(x, w)
    if backend == "reference":
        return masked_linear(x, w, counts, bias)
    if backend == "cuda_grouped":
        return _cuda_forward(x, w, counts, bias)
    if backend == "compiled":
        row_sizes(counts, x)
        return compiled_grouped_linear(x, w, counts, bias)
    sizes = row_sizes(counts, x)
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
    return out


@_grouped_linear.register_fake
def _(x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None, frozen: Sequence[int]) -> Tensor:
    return x.new_empty(x.shape[0], w.shape[1])


@torch.library.custom_op("visgen::grouped_linear_backward", mutates_args=())
def _grouped_linear_backward(
    grad: Tensor,
    x: Tensor,
    w: Tensor,
    counts: Tensor,
    need_x: bool,
    need_w: bool,
    need_bias: bool,
    frozen: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, w and bias; one that is not needed has no elements. The loop leaves out that of `frozen` ones."""
    backend = choose_backend(x, w)
    if backend == "reference":
        return _reference_backward(grad, x, w, counts, need_x, need_w, need_bias)
    if backend == "cuda_grouped":
        return _cuda_backward(grad, x, w, counts, need_x, need_w, need_bias)
    sizes = row_sizes(counts, x)
    pieces = grad.split(sizes)
    grad_x, grad_w = (torch.empty_like(t) if need else t.new_empty(0) for t, need in ((x, need_x), (w, need_w)))
    grad_bias = torch.stack([piece.sum(0) for piece in pieces]) if need_bias else w.new_empty(0)
    if need_x:
        for piece, matrix, target in zip(pieces, w.unbind(0), grad_x.split(sizes), strict=True):
            if len(piece):
                torch.mm(piece, matrix, out=target)
    if need_w:
        # one buffer for all experts: indexing w under autograd would allocate a full (E, out, in) zero per expert
        for e, (piece, row, target) in enumerate(zip(pieces, x.split(sizes), grad_w.unbind(0), strict=True)):
            if len(piece) and e not in frozen:
                torch.mm(piece.t(), row, out=target)
            else:
                target.zero_()
    return grad_x, grad_w, grad_bias


@_grouped_linear_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    w: Tensor,
    counts: Tensor,
    need_x: bool,
    need_w: bool,
    need_bias: bool,
    frozen: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(x) if need_x else x.new_empty(0),
        torch.empty_like(w) if need_w else w.new_empty(0),
        w.new_empty(w.shape[:2]) if need_bias else w.new_empty(0),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, w, counts, _, ctx.frozen = inputs
    ctx.save_for_backward(x, w, counts)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, w, counts = ctx.saved_tensors
    need_x, need_w, _, need_bias = ctx.needs_input_grad[:4]
    # an expanded gradient (stride 0) is legal in autograd and slow or refused in kernels
    found = _grouped_linear_backward(grad.contiguous(), x, w, counts, need_x, need_w, need_bias, ctx.frozen)
    grad_x, grad_w, grad_bias = (g if n else None for g, n in zip(found, (need_x, need_w, need_bias), strict=True))
    return grad_x, grad_w, None, grad_bias, None


_grouped_linear.register_autograd(_backward, setup_context=_setup_context)


def row_sizes(counts: Tensor, rows: Tensor) -> list[int]:
    """The counts as numbers; they must sum to the rows (ConfigError), or slices would silently miss some."""
    sizes = counts.tolist()
    if sum(sizes) != rows.shape[0]:
        raise ConfigError(
            f"the counts sum to {sum(sizes)} but there are {rows.shape[0]} rows; every row needs an expert."
        )
    return sizes


def row_owners(counts: Tensor, rows: int) -> Tensor:
    """The expert of each of `rows` sorted rows (R,) int64, without waiting for the device."""
    return torch.repeat_interleave(torch.arange(counts.shape[0], device=counts.device), counts, output_size=rows)


def masked_linear(x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None) -> Tensor:
    """The backend "reference": every expert on every row, and a mask that keeps the right one."""
    owner = row_owners(counts, x.shape[0])
    out = x.new_zeros(x.shape[0], w.shape[1])
    for e in range(w.shape[0]):
        every = x @ w[e].t() if bias is None else x @ w[e].t() + bias[e]
        out = torch.where((owner == e).unsqueeze(1), every, out)
    return out


def _reference_backward(
    grad: Tensor, x: Tensor, w: Tensor, counts: Tensor, need_x: bool, need_w: bool, need_bias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    owner = row_owners(counts, x.shape[0])
    grad_x, grad_w, grad_bias = torch.zeros_like(x), torch.zeros_like(w), w.new_zeros(w.shape[:2])
    for e in range(w.shape[0]):
        own = torch.where((owner == e).unsqueeze(1), grad, 0)
        grad_x += own @ w[e]
        grad_w[e] = own.t() @ x
        grad_bias[e] = own.sum(0)
    return (
        grad_x if need_x else x.new_empty(0),
        grad_w if need_w else w.new_empty(0),
        grad_bias if need_bias else w.new_empty(0),
    )


def _cuda_forward(x: Tensor, w: Tensor, counts: Tensor, bias: Tensor | None) -> Tensor:
    grouped_mm = torch_grouped_mm()
    assert grouped_mm is not None
    if not x.shape[0]:
        return x.new_empty(0, w.shape[1])
    out = grouped_mm(x, w.transpose(1, 2), offs=counts.cumsum(0).to(torch.int32))
    return out if bias is None else out.add_(bias.index_select(0, row_owners(counts, x.shape[0])))


def _cuda_backward(
    grad: Tensor, x: Tensor, w: Tensor, counts: Tensor, need_x: bool, need_w: bool, need_bias: bool
) -> tuple[Tensor, Tensor, Tensor]:
    grouped_mm = torch_grouped_mm()
    assert grouped_mm is not None
    rows, offsets = x.shape[0], counts.cumsum(0).to(torch.int32)
    grad_x, grad_w, grad_bias = x.new_empty(0), w.new_empty(0), w.new_empty(0)
    if not rows:
        return (
            torch.empty_like(x) if need_x else grad_x,
            torch.zeros_like(w) if need_w else grad_w,
            w.new_zeros(w.shape[:2]) if need_bias else grad_bias,
        )
    if need_x:
        grad_x = grouped_mm(grad, w, offs=offsets)
    if need_w:
        grad_w = grouped_mm(grad.t(), x, offs=offsets)
        grad_w.masked_fill_(
            (counts == 0).view(-1, 1, 1), 0
        )  # a kernel may leave the slice of an empty expert unwritten
    if need_bias:
        # a product with the one-hot owners sums in a fixed order, which a scatter on a GPU does not
        owner = torch.nn.functional.one_hot(row_owners(counts, rows), w.shape[0]).to(grad.dtype)
        grad_bias = owner.t() @ grad
    return grad_x, grad_w, grad_bias
