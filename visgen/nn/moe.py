"""A mixture-of-experts MLP: one bank of experts for all tasks, one router per task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .grouped_linear import combine, dispatch_rows, gather_rows, grouped_linear
from .init import init_expert_weight_
from .routing import Router, Routing, TaskRows, route_top_k, routing_statistics, select_tasks

__all__ = [
    "MoEMlp",
    "Router",
    "Routing",
    "TaskRows",
    "expert_mlp",
    "route_top_k",
    "routing_statistics",
    "select_tasks",
]


def expert_mlp(
    x: Tensor, routing_weights: Tensor, experts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> Tensor:
    """sum_j g_j * (w2[e_j] GELU(w1[e_j] x + b1[e_j]) + b2[e_j]) for each row.

    Args:
        x: Rows (S, D).
        routing_weights: Gates g (S, k).
        experts: Expert of each gate (S, k) int64, distinct within a row.
        w1, b1: (E, h, D) and (E, h).
        w2, b2: (E, D, h) and (E, D).
    Returns:
        (S, D).
    """
    num_experts, k = w1.shape[0], experts.shape[1]
    if k == num_experts:
        return _all_experts(x, routing_weights, experts, w1, b1, w2, b2)
    dispatch = dispatch_rows(experts, num_experts)
    hidden = F.gelu(grouped_linear(gather_rows(x, dispatch), w1, dispatch.counts, b1))
    return combine(grouped_linear(hidden, w2, dispatch.counts, b2), routing_weights, dispatch)


def _all_experts(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
) -> Tensor:
    """The same when every row visits every expert: two dense layers with gates in between, and no sorting."""
    num_experts, hidden, width = w1.shape
    gates = torch.zeros_like(weights).scatter(1, experts, weights)  # (S, E) in the order of experts
    inner = F.gelu(F.linear(x, w1.reshape(-1, width), b1.reshape(-1)))
    gates = gates.to(inner.dtype)
    inner = (inner.view(-1, num_experts, hidden) * gates.unsqueeze(-1)).view(-1, num_experts * hidden)
    return F.linear(inner, w2.permute(1, 0, 2).reshape(width, -1)) + gates @ b2.to(gates.dtype)


class MoEMlp(nn.Module):
    """Experts y_e = W2_e GELU(W1_e x + b1_e) + b2_e, and a router per task that picks k of them for each token.

    With hidden = mlp_ratio * D / k the active parameters equal those of a dense MLP of that ratio, routers aside.

    Args:
        width: D.
        hidden: Width inside one expert.
        router: Decides; its `num_experts` is the size of the bank.
    Source: Chen et al. 2023 (Mod-Squad), arXiv:2212.08066.
    """

    def __init__(self, width: int, hidden: int, router: Router) -> None:
        super().__init__()
        self.router = router
        experts = router.num_experts
        self.w1 = nn.Parameter(init_expert_weight_(torch.empty(experts, hidden, width)))
        self.b1 = nn.Parameter(torch.zeros(experts, hidden))
        self.w2 = nn.Parameter(init_expert_weight_(torch.empty(experts, width, hidden)))
        self.b2 = nn.Parameter(torch.zeros(experts, width))

    def forward(
        self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Routing]:
        """Give the output (B, N, D) for tokens (B, N, D), and the routing behind it."""
        routing = self.router(x, tasks, generator)
        rows = x.reshape(-1, x.shape[-1])
        k = self.router.top_k
        y = expert_mlp(
            rows, routing.weights.view(-1, k), routing.experts.view(-1, k), self.w1, self.b1, self.w2, self.b2
        )
        return y.view(x.shape), routing
