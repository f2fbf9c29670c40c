"""Experts without ragged rows: every expert sees every token, and gates of 0 mask what was not selected.

A runtime without ragged operators can run this form. It costs E / k times the arithmetic of the experts; selection,
gates and results are those of the sparse form up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.attention import attend
from ..nn.moe import MoEMlp
from ..nn.moe_attention import MoEAttention
from ..nn.routing import Routing, TaskRows

__all__ = ["DenseMoEAttention", "DenseMoEMlp", "bank_size", "make_dense", "routed_parts", "selectable"]


class DenseMoEMlp(MoEMlp):
    """A `MoEMlp` that computes all E experts for all tokens, from copies of the parameters of `part`."""

    def __init__(self, part: MoEMlp) -> None:
        nn.Module.__init__(self)
        self.router = part.router
        _copy_bank(self, part, ("w1", "b1", "w2", "b2"))

    def forward(self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None) -> tuple[Tensor, Routing]:
        """Give the output (B, N, D) for tokens (B, N, D), and the routing behind it."""
        routing = self.router(x, tasks, generator)
        experts, hidden, width = self.w1.shape
        zeros = x.new_zeros(*x.shape[:-1], experts, dtype=routing.weights.dtype)
        gates = zeros.scatter_add(-1, routing.experts, routing.weights).to(x.dtype)  # (B, N, E)
        inner = F.gelu(F.linear(x, self.w1.reshape(-1, width), self.b1.reshape(-1)))
        inner = (inner.unflatten(-1, (experts, hidden)) * gates.unsqueeze(-1)).flatten(-2)
        return F.linear(inner, self.w2.permute(1, 0, 2).reshape(width, -1)) + gates @ self.b2, routing


class DenseMoEAttention(MoEAttention):
    """A `MoEAttention` whose projections are computed for all E experts, from copies of the parameters of `part`.

    The queries of the selected experts are then gathered, so that the attention itself stays as large as it was.
    """

    def __init__(self, part: MoEAttention) -> None:
        nn.Module.__init__(self)
        self.router, self.head_dim, self.kv = part.router, part.head_dim, part.kv
        _copy_bank(self, part, ("q", "o"))

    def forward(self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None) -> tuple[Tensor, Routing]:
        """Give the output (B, N, D) for tokens (B, N, D), and the routing behind it."""
        routing = self.router(x, tasks, generator)
        experts, dim, width = self.q.shape
        batch, k = x.shape[0], routing.experts.shape[-1]
        queries = F.linear(x, self.q.reshape(-1, width)).unflatten(-1, (experts, dim))  # (B, N, E, d)
        places = routing.experts.unsqueeze(-1).expand(-1, -1, -1, dim)
        chosen = queries.gather(2, places)  # (B, N, k, d)
        keys, values = self.kv(x).unsqueeze(1).chunk(2, dim=-1)
        out = attend(chosen.reshape(batch, 1, -1, dim), keys, values).reshape(batch, -1, k, dim)
        out = out * routing.weights.unsqueeze(-1).to(out.dtype)
        spread = torch.zeros_like(queries).scatter_add(2, places, out).flatten(-2)  # (B, N, E * d)
        return F.linear(spread, self.o.permute(1, 0, 2).reshape(width, -1)), routing


def _copy_bank(target: nn.Module, part: nn.Module, names: tuple[str, ...]) -> None:
    """Give `target` the tensors of a bank as one part, expert e at row e."""
    tensors = part.expert_tensors(range(bank_size(part)))  # type: ignore[operator]
    for name in names:
        setattr(target, name, nn.Parameter(tensors[name].detach().clone(), requires_grad=False))


def make_dense(module: nn.Module) -> None:
    """Put the dense form in the place of every routed part of `module`."""
    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            if type(part) is MoEMlp:
                setattr(parent, name, DenseMoEMlp(part))
            elif type(part) is MoEAttention:
                setattr(parent, name, DenseMoEAttention(part))


def routed_parts(module: nn.Module) -> Iterator[tuple[str, MoEMlp | MoEAttention]]:
    """Give the routed parts of a module, sparse or dense, with their paths, in the order of the blocks."""
    for name, part in module.named_modules():
        if isinstance(part, MoEMlp | MoEAttention):
            yield name, part


def bank_size(part: nn.Module) -> int:
    """Number of experts in the bank of a routed part."""
    return int(part.router.num_experts)  # type: ignore[union-attr, arg-type]


def selectable(part: nn.Module, task: str) -> tuple[int, ...]:
    """The experts of a routed part that tokens of `task` may be sent to, rising."""
    router = part.router
    return tuple(sorted(set(router.route(task).experts(router.num_experts))))  # type: ignore[union-attr, operator, arg-type]
