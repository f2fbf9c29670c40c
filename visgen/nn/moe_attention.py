"""Mixture-of-attention: routed query and output projections around one shared key and value head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from .attention import attend
from .bank import ExpertBank
from .dispatch import combine, dispatch_rows, gather_rows, restore_rows, sort_rows, sum_slots
from .grouped_linear import grouped_linear
from .init import init_expert_weight_, init_linear_
from .routing import Router, Routing, TaskRows

__all__ = ["MoEAttention"]


class MoEAttention(ExpertBank):
    """Each token picks its query heads from a bank; all heads read one key and one value.

    Expert e is a query projection (D -> d) and an output projection (d -> D), both without bias. With k experts per
    token the layer has k heads: slot j of a token comes from its j-th expert. Gates multiply after the output
    projection. Because keys and values are shared and nothing is masked, the k slots of N tokens are simply k N
    queries of one head: no copy of keys and no (B, k, N, N) tensor is made.

    Args:
        width: D.
        head_dim: d.
        router: Decides; its `num_experts` is the size of the bank and `top_k` the number of heads.
        parts, order: See `visgen.nn.bank.BankShape`; one part when None.
    Source: Zhang et al. 2022, arXiv:2210.05144; used in vision by Mod-Squad, arXiv:2212.08066.
    """

    BANK: ClassVar[tuple[str, ...]] = ("q", "o")
    q: Tensor
    o: Tensor

    def __init__(
        self,
        width: int,
        head_dim: int,
        router: Router,
        parts: Sequence[int] | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.router = router
        self.width, self.head_dim = width, head_dim
        self.kv = nn.Linear(width, 2 * head_dim)
        self.apply(init_linear_)
        self.build_bank(parts, order)

    def new_experts(self, count: int) -> dict[str, Tensor]:
        return {
            "q": init_expert_weight_(torch.empty(count, self.head_dim, self.width)),
            "o": init_expert_weight_(torch.empty(count, self.width, self.head_dim)),
        }

    def forward(self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None) -> tuple[Tensor, Routing]:
        """Give the output (B, N, D) for tokens (B, N, D), and the routing behind it."""
        batch, tokens, width = x.shape
        routing = self.router(x, tasks, generator)
        k = routing.experts.shape[-1]
        weights, experts = routing.weights.view(-1, k), self.places(routing.experts.view(-1, k))
        rows = x.reshape(-1, width)
        query, output = self.bank_tensors(routing.visible)
        keys, values = self.kv(x).unsqueeze(1).chunk(2, dim=-1)  # (B, 1, N, d) each
        if routing.kept is not None:
            y = self._kept_slots(rows, weights, experts, routing.kept.view(batch, -1), query, output, (keys, values))
            return y.view(x.shape), routing
        dispatch = dispatch_rows(experts, len(query))
        frozen = self.frozen_places()
        q = grouped_linear(gather_rows(rows, dispatch), query, dispatch.counts, frozen=frozen)
        q = restore_rows(q, dispatch)
        out = attend(q.view(batch, 1, tokens * k, self.head_dim), keys, values)
        out = sort_rows(out.reshape(-1, self.head_dim), dispatch)
        y = combine(grouped_linear(out, output, dispatch.counts, frozen=frozen), weights, dispatch)
        return y.view(x.shape), routing

    def _kept_slots(
        self,
        rows: Tensor,
        weights: Tensor,
        experts: Tensor,
        kept: Tensor,
        query: Tensor,
        output: Tensor,
        memory: tuple[Tensor, Tensor],
    ) -> Tensor:
        """The same where tokens have different numbers of heads: only kept slots are projected and attend.

        Args:
            rows: (S, D).
            weights, experts: (S, k).
            kept: (B, N * k) bool.
            query, output: Tensors of the visible experts.
            memory: Keys and values (B, 1, N, d).
        """
        k = weights.shape[1]
        longest = int(kept.sum(1).max())
        front = kept.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :longest]
        live = kept.gather(1, front)  # (B, longest): the queries of an image, then filler where it has fewer
        start = torch.arange(len(kept), device=kept.device).unsqueeze(1) * kept.shape[1]
        slot = (front + start)[live]  # (R,) kept slots of the batch in order
        dispatch = dispatch_rows(experts.reshape(-1)[slot].unsqueeze(1), len(query))
        frozen = self.frozen_places()
        q = grouped_linear(gather_rows(rows[slot // k], dispatch), query, dispatch.counts, frozen=frozen)
        q = restore_rows(q, dispatch)
        padded = q.new_zeros(*live.shape, self.head_dim).masked_scatter(live.unsqueeze(-1), q)
        out = attend(padded.unsqueeze(1), *memory).squeeze(1)[live]
        y = grouped_linear(sort_rows(out, dispatch), output, dispatch.counts, frozen=frozen)
        y = restore_rows(y, dispatch)
        y = torch.cat([y, y.new_zeros(1, y.shape[1])])
        place = slot.new_full((weights.numel(),), len(slot))  # slots that are not kept read the zero row
        place[slot] = torch.arange(len(slot), device=slot.device)
        return sum_slots(y, place, k, weights.to(y.dtype))
