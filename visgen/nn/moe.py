"""A mixture-of-experts MLP: one bank of experts for all tasks, one router per task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from .bank import ExpertBank, run_slots
from .expert_mlp import expert_mlp
from .init import init_expert_weight_
from .routing import Router, Routing, TaskRows, route_top_k, select_tasks
from .routing_sums import routing_statistics

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


class MoEMlp(ExpertBank):
    """Experts y_e = W2_e GELU(W1_e x + b1_e) + b2_e, and a router per task that picks k of them for each token.

    With hidden = mlp_ratio * D / k the active parameters equal those of a dense MLP of that ratio, routers aside.

    Args:
        width: D.
        hidden: Width inside one expert.
        router: Decides; its `num_experts` is the size of the bank.
        parts, order: See `visgen.nn.bank.BankShape`; one part when None.
    Source: Chen et al. 2023 (Mod-Squad), arXiv:2212.08066.
    """

    BANK: ClassVar[tuple[str, ...]] = ("w1", "b1", "w2", "b2")
    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor

    def __init__(
        self,
        width: int,
        hidden: int,
        router: Router,
        parts: Sequence[int] | None = None,
        order: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.router = router
        self.width, self.hidden = width, hidden
        self.build_bank(parts, order)

    def new_experts(self, count: int) -> dict[str, Tensor]:
        return {
            "w1": init_expert_weight_(torch.empty(count, self.hidden, self.width)),
            "b1": torch.zeros(count, self.hidden),
            "w2": init_expert_weight_(torch.empty(count, self.width, self.hidden)),
            "b2": torch.zeros(count, self.width),
        }

    def forward(self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None) -> tuple[Tensor, Routing]:
        """Give the output (B, N, D) for tokens (B, N, D), and the routing behind it."""
        routing = self.router(x, tasks, generator)
        k = routing.experts.shape[-1]
        w1, b1, w2, b2 = self.bank_tensors(routing.visible)
        frozen = self.frozen_places()
        experts = self.places(routing.experts.view(-1, k))
        kept = None if routing.kept is None else routing.kept.view(-1, k)

        def run(rows: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
            return expert_mlp(rows, weights, experts, w1, b1, w2, b2, frozen)

        y = run_slots(run, x.reshape(-1, x.shape[-1]), routing.weights.view(-1, k), experts, kept)
        return y.view(x.shape), routing
