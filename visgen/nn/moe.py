"""A mixture-of-experts MLP: one bank of experts for all tasks, one router per task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .expert_mlp import expert_mlp
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

    def forward(self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None) -> tuple[Tensor, Routing]:
        """Give the output (B, N, D) for tokens (B, N, D), and the routing behind it."""
        routing = self.router(x, tasks, generator)
        rows = x.reshape(-1, x.shape[-1])
        k = self.router.top_k
        y = expert_mlp(
            rows, routing.weights.view(-1, k), routing.experts.view(-1, k), self.w1, self.b1, self.w2, self.b2
        )
        return y.view(x.shape), routing
