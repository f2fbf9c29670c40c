"""Mixture-of-attention: routed query and output projections around one shared key and value head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .attention import attend
from .grouped_linear import combine, dispatch_rows, gather_rows, grouped_linear, restore_rows, sort_rows
from .init import init_expert_weight_, init_linear_
from .routing import Router, Routing, TaskRows

__all__ = ["MoEAttention"]


class MoEAttention(nn.Module):
    """Each token picks its query heads from a bank; all heads read one key and one value.

    Expert e is a query projection (D -> d) and an output projection (d -> D), both without bias. With k experts per
    token the layer has k heads: slot j of a token comes from its j-th expert. Gates multiply after the output
    projection. Because keys and values are shared and nothing is masked, the k slots of N tokens are simply k N
    queries of one head: no copy of keys and no (B, k, N, N) tensor is made.

    Args:
        width: D.
        head_dim: d.
        router: Decides; its `num_experts` is the size of the bank and `top_k` the number of heads.
    Source: Zhang et al. 2022, arXiv:2210.05144; used in vision by Mod-Squad, arXiv:2212.08066.
    """

    def __init__(self, width: int, head_dim: int, router: Router) -> None:
        super().__init__()
        self.router = router
        self.head_dim = head_dim
        self.kv = nn.Linear(width, 2 * head_dim)
        self.apply(init_linear_)
        self.q = nn.Parameter(init_expert_weight_(torch.empty(router.num_experts, head_dim, width)))
        self.o = nn.Parameter(init_expert_weight_(torch.empty(router.num_experts, width, head_dim)))

    def forward(self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None) -> tuple[Tensor, Routing]:
        """Give the output (B, N, D) for tokens (B, N, D), and the routing behind it."""
        batch, tokens, width = x.shape
        routing = self.router(x, tasks, generator)
        k = self.router.top_k
        weights, experts = routing.weights.view(-1, k), routing.experts.view(-1, k)
        dispatch = dispatch_rows(experts, self.router.num_experts)
        rows = x.reshape(-1, width)
        q = restore_rows(grouped_linear(gather_rows(rows, dispatch), self.q, dispatch.counts), dispatch)
        keys, values = self.kv(x).unsqueeze(1).chunk(2, dim=-1)  # (B, 1, N, d) each
        out = attend(q.view(batch, 1, tokens * k, self.head_dim), keys, values)
        out = sort_rows(out.reshape(-1, self.head_dim), dispatch)
        y = combine(grouped_linear(out, self.o, dispatch.counts), weights, dispatch)
        return y.view(x.shape), routing
