"""How much a call computes, whatever computes it: the part of a latency that no implementation can take away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["count_flop"]


def count_flop(call: Callable[[], Any]) -> int:
    """Floating-point operations of the products and convolutions of one call, an addition and a product being two.

    Experts count for the rows that visit them, so the figure belongs to the picture that the call is about.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ops = torch.ops
    mapping = {
        ops.visgen.grouped_linear: _grouped_linear,
        ops.visgen.expert_mlp: _expert_mlp,
        ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        call()
    return int(counter.get_total_flops())


def _grouped_linear(x: Sequence[int], w: Sequence[int], *_: Any, **__: Any) -> int:
    """Rows (R, in) each meet one matrix (out, in)."""
    return 2 * x[0] * w[1] * w[2]


def _expert_mlp(x: Any, weights: Any, w1: Any, b1: Any, w2: Any, b2: Any, order: Any, *_: Any, **__: Any) -> int:
    """Assignments (S k,) each meet both matrices of one expert."""
    return 2 * order[0] * (w1[1] * w1[2] + w2[1] * w2[2])


def _attention(q: Sequence[int], k: Sequence[int], v: Sequence[int], *_: Any, **__: Any) -> int:
    """Queries (B, H, M, d) with keys and values (B, H, N, d)."""
    return 2 * q[0] * q[1] * q[2] * k[2] * (q[3] + v[3])
