"""Who decides which experts a token visits: top-k gates, one router per task, and the figures a loss needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, UnknownName, nearest
from .init import init_router_
from .route import Route, RouteView

__all__ = [
    "GATE_NORMS",
    "NOISES",
    "Route",
    "Router",
    "Routing",
    "TaskRouter",
    "TaskRows",
    "check_gates",
    "route_in_view",
    "route_top_k",
    "select_tasks",
    "task_names",
]

GATE_NORMS = ("topk", "none")
NOISES = ("none", "fixed", "learned")


@dataclass(frozen=True)
class Routing:
    """What a router decided for tokens with leading shape (...).

    Attributes:
        weights: Gates (..., k) float32, best expert first.
        experts: Expert indices (..., k) int64, best first.
        logits: The scores behind them (..., E) float32, noise included.
        kept: (..., k) bool, false for slots that are not visited (their gates are 0); None when all are.
        view: What the task sees of the bank, where that is not simply all of it; `experts` then counts in the bank.
    """

    weights: Tensor
    experts: Tensor
    logits: Tensor
    kept: Tensor | None = None
    view: RouteView | None = None

    @property
    def probabilities(self) -> Tensor:
        """Softmax over all experts (..., E) float32; computed when asked, which prediction does not."""
        return self.logits.softmax(-1)

    @property
    def visible(self) -> int:
        """The bank's first experts that the arithmetic of this decision reads."""
        return self.logits.shape[-1] if self.view is None else self.view.visible


def route_top_k(logits: Tensor, k: int, gate_norm: str = "topk") -> Routing:
    """Send each token to its k highest-scoring experts.

    Args:
        logits: Router scores (..., E); the softmax runs in float32 (float64 stays).
        k: Experts per token, 1..E.
        gate_norm: "topk" softmaxes the k selected scores, so that gates sum to 1; "none" takes the probabilities
            as they are, which sum to less. A single renormalised gate is the constant 1 and would give its router
            no gradient, so k = 1 of several experts needs "none".
    Raises:
        ConfigError: k is outside 1..E, or the gate norm is unknown or does not go with k.
    Source: Shazeer et al. 2017, arXiv:1701.06538, section 2.1; the reference form of Mod-Squad is "none".
    """
    check_gates(logits.shape[-1], k, gate_norm)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    top, experts = logits.topk(k, dim=-1)
    weights = top.softmax(-1) if gate_norm == "topk" else logits.softmax(-1).gather(-1, experts)
    return Routing(weights, experts, logits)


def route_in_view(logits: Tensor, k: int, gate_norm: str, view: RouteView) -> Routing:
    """Send each token to its best k among the experts that a task's route leaves open.

    Args:
        logits: Scores (..., scores of the route).
        k, gate_norm: As in `route_top_k`; k = 1 is allowed, because a route that narrows k is no way to train.
        view: The route. Its `tau` keeps the shortest prefix of the k whose probabilities (softmax over the open
            scores) reach it; slots that mean one expert become one, with the sum of their gates.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    masked = logits if view.closed is None else logits.masked_fill(view.closed, -torch.inf)
    top, scores = masked.topk(k, dim=-1)
    kept: Tensor | None = None
    if view.route.tau is not None:
        p = masked.softmax(-1).gather(-1, scores)
        kept = p.cumsum(-1) - p < view.route.tau  # what came before is not enough yet
        kept[..., 0] = True
        top = top.masked_fill(~kept, -torch.inf)
    weights = top.softmax(-1) if gate_norm == "topk" else logits.softmax(-1).gather(-1, scores)
    if kept is not None and gate_norm != "topk":
        weights = weights * kept
    experts = scores if view.index is None else view.index[scores]
    if view.has_twins:
        same = experts.unsqueeze(-1) == experts.unsqueeze(-2)  # (..., k, k)
        first = ~(same & torch.ones(k, k, dtype=torch.bool, device=same.device).tril(-1)).any(-1)
        weights = (same * weights.unsqueeze(-2)).sum(-1) * first
        kept = first if kept is None else first & (same & kept.unsqueeze(-2)).any(-1)
    return Routing(weights, experts, logits, kept, view)


def check_gates(num_experts: int, k: int, gate_norm: str) -> None:
    """Refuse a number of active experts or a gate norm that cannot work; see `route_top_k`."""
    if not 1 <= k <= num_experts:
        raise ConfigError(
            f"k is {k} but this layer has {num_experts} experts; use 1..{num_experts} or raise num_experts."
        )
    if gate_norm not in GATE_NORMS:
        raise ConfigError(f"gate_norm '{gate_norm}' is unknown{nearest(gate_norm, GATE_NORMS, ';')} use topk or none.")
    if k == 1 and num_experts > 1 and gate_norm == "topk":
        raise ConfigError(
            "gate_norm is 'topk' with k = 1: one renormalised gate is always 1 and its router would never learn; "
            "use gate_norm='none' or k >= 2."
        )


def task_names(tasks: Sequence[str]) -> tuple[str, ...]:
    """Check the names of routed tasks: at least one, distinct, without dots."""
    names = tuple(tasks)
    bad = [name for name in names if not name or "." in name]
    if not names or len(set(names)) != len(names) or bad:
        raise ConfigError(
            f"tasks are {names}; name at least one task, each once and without dots (named heads share the router of "
            "their task)."
        )
    return names


@dataclass(frozen=True)
class TaskRows:
    """Which task each image of a batch belongs to.

    Attributes:
        names: Tasks present in the batch.
        ids: Their indices in the model's task list, (G,) int64, in the order of `names`.
        rows: For each image the position of its task in `names`, (B,) int64; None when there is one task.
    """

    names: tuple[str, ...]
    ids: Tensor
    rows: Tensor | None = None


def select_tasks(task: str | Tensor | None, tasks: Sequence[str], batch: int, device: torch.device) -> TaskRows:
    """Resolve what a caller passed as `task` against the routed tasks of a model.

    Args:
        task: A name for the whole batch, int64 indices (B,) into `tasks` for a mixed one, or None when the model
            has one task.
        tasks: The routed tasks in order.
        batch: B.
    Raises:
        UnknownName: A name that is not routed.
        ConfigError: No task given although there are several; or indices of a wrong shape, type or range.
    """
    known = ", ".join(tasks)
    if task is None:
        if len(tasks) != 1:
            raise ConfigError(f"task is missing and this model routes {len(tasks)} tasks; pass one of: {known}.")
        task = tasks[0]
    if isinstance(task, str):
        if task not in tasks:
            raise UnknownName(f"task '{task}' is not routed by this model{nearest(task, tasks, ';')} known: {known}.")
        return TaskRows((task,), torch.tensor([tasks.index(task)], device=device))
    if task.dtype != torch.int64 or task.shape != (batch,):
        raise ConfigError(
            f"task is a tensor of shape {tuple(task.shape)} and dtype {task.dtype}; use int64 indices of shape "
            f"({batch},), one per image, or a task name."
        )
    ids, rows = task.unique(return_inverse=True)
    present = ids.tolist()  # one small wait per forward; absent routers then stay out of the graph, with grad None
    if present and not 0 <= present[0] <= present[-1] < len(tasks):
        raise ConfigError(f"task holds index {present[0] if present[0] < 0 else present[-1]}; use 0..{len(tasks) - 1}.")
    return TaskRows(tuple(tasks[i] for i in present), ids.to(device), rows.to(device) if len(present) != 1 else None)


class TaskRouter(nn.Module):
    """Scores of one task's tokens: linear without bias, or D -> hidden -> GELU -> E with biases.

    Args:
        width: Token width D.
        outputs: E, or 2 E with learned noise.
        hidden: Width of the middle layer; 0 leaves it out.
    """

    def __init__(self, width: int, outputs: int, hidden: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(init_router_(torch.empty(outputs, hidden or width)))
        self.down: nn.Linear | None = None
        self.bias: nn.Parameter | None = None
        if hidden:
            self.down = nn.Linear(width, hidden)
            self.bias = nn.Parameter(torch.zeros(outputs))


class Router(nn.Module):
    """One router per task over one bank of experts; computes in float32 whatever the surroundings do.

    Args:
        width: Token width D.
        num_experts: E.
        top_k: Experts per token.
        tasks: Names of the routed tasks; each owns its parameters, so an unused one has no gradient at all.
        gate_norm: See `route_top_k`.
        noise: Added to the scores in training only: "fixed" with `noise_std` (1 / E when None), or "learned" with
            2 E outputs (l, r) and the standard deviation softplus(r) + 0.01.
        hidden: Width of a middle layer; 0 for a linear router.
        routes: Tasks that do not simply see the whole bank and visit `top_k` of it.
    Source: Chen et al. 2023 (Mod-Squad), arXiv:2212.08066; noise after Shazeer et al. 2017 and V-MoE.
    """

    def __init__(
        self,
        width: int,
        num_experts: int,
        top_k: int,
        tasks: Sequence[str],
        *,
        gate_norm: str = "topk",
        noise: str = "none",
        noise_std: float | None = None,
        hidden: int = 0,
        routes: Mapping[str, Route] | None = None,
    ) -> None:
        super().__init__()
        check_gates(max(num_experts, top_k if routes else 0), top_k, gate_norm)
        if noise not in NOISES:
            raise ConfigError(f"noise '{noise}' is unknown{nearest(noise, NOISES, ';')} use {', '.join(NOISES)}.")
        self.num_experts, self.top_k, self.gate_norm, self.noise = num_experts, top_k, gate_norm, noise
        self.noise_std = 1 / num_experts if noise_std is None else noise_std
        self.width, self.hidden = width, hidden
        self.tasks = nn.ModuleDict()
        self.views = nn.ModuleDict()  # without parameters: what the routes say, as tensors
        for name in tasks:
            self.add_task(name, (routes or {}).get(name))

    def add_task(self, name: str, route: Route | None = None) -> None:
        """Give one more task a router of its own; without a route it sees all of a bank, and visits at most k of it."""
        if route is None and self.num_experts < self.top_k:  # an extract
            route = Route(top_k=self.num_experts)
        scores = (route or Route()).scores(self.num_experts)
        self.set_route(name, route)
        outputs = 2 * scores if self.noise == "learned" else scores
        self.tasks[name] = TaskRouter(self.width, outputs, self.hidden)

    def route(self, task: str) -> Route:
        """What a task sees of the bank."""
        return self.views[task].route if task in self.views else Route()  # type: ignore[return-value]

    def set_route(self, task: str, route: Route | None) -> None:
        """Change what a task sees of the bank; None or a route without content: all of it.

        Raises:
            ConfigError: The route does not fit the bank, the layer's k, or the scores that the task's router has.
        """
        route = route or Route()
        route.check(self.num_experts, self.top_k)
        scores = route.scores(self.num_experts)
        if task in self.tasks and scores != self.scores_of(task):
            raise ConfigError(
                f"a route of task '{task}' has {scores} scores but its router gives {self.scores_of(task)}."
            )
        if route.index is None and route.width == self.num_experts:
            route = replace(route, width=None)
        if task in self.views:
            del self.views[task]
        if route != Route():
            view = RouteView(route, self.num_experts)
            self.views[task] = view.to(next(self.parameters()).device) if len(self.tasks) else view

    def resize(self, num_experts: int) -> None:
        """Say that the bank has another size now; every task goes on seeing what it saw.

        Raises:
            ConfigError: A task sees an expert that would be gone.
        """
        routes = {name: self.route(name) for name in self.tasks}
        for name, route in routes.items():
            if route.index is None and route.width is None:
                routes[name] = replace(route, width=self.num_experts)
            routes[name].check(num_experts, self.top_k)
        self.num_experts = num_experts
        for name, route in routes.items():
            self.set_route(name, route)

    def scores_of(self, task: str) -> int:
        """Experts that the router of `task` scores."""
        outputs = len(self.tasks[task].weight)  # type: ignore[arg-type]
        return outputs // 2 if self.noise == "learned" else outputs

    def k_of(self, task: str) -> int:
        """Experts that a token of `task` visits, at most."""
        k = self.route(task).top_k
        return self.top_k if k is None else k

    def scores(self, x: Tensor, tasks: TaskRows) -> Tensor:
        """Raw outputs (B, N, E or 2 E) for tokens (B, N, D)."""
        present: list[TaskRouter] = [self.tasks[name] for name in tasks.names]  # type: ignore[misc]
        with torch.autocast(x.device.type, enabled=False):
            x = x if x.dtype == torch.float64 else x.float()
            if present[0].down is not None:
                weights = [router.down.weight for router in present]  # type: ignore[union-attr]
                biases = [router.down.bias for router in present]  # type: ignore[union-attr]
                x = F.gelu(_rowwise_linear(x, weights, biases, tasks.rows))
            weights = [router.weight for router in present]
            biases = [router.bias for router in present if router.bias is not None]
            return _rowwise_linear(x, weights, biases, tasks.rows)

    def forward(self, x: Tensor, tasks: TaskRows, generator: torch.Generator | None = None) -> Routing:
        """Route tokens (B, N, D); noise comes from `generator`, or from the global one when None."""
        logits = self.scores(x, tasks)
        if self.noise == "learned":
            logits, spread = logits.chunk(2, dim=-1)
            std: Tensor | float = F.softplus(spread) + 0.01
        else:
            std = self.noise_std
        if self.training and self.noise != "none":
            noise = torch.randn(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
            logits = logits + noise * std
        if not self.views:
            return route_top_k(logits, self.top_k, self.gate_norm)
        routes = {self.route(name) for name in tasks.names}
        if len(routes) != 1:
            raise AssertionError("tasks with different routes came in one call; the backbone separates them")
        name = tasks.names[0]
        if name not in self.views:
            return route_top_k(logits, self.top_k, self.gate_norm)
        return route_in_view(logits, self.k_of(name), self.gate_norm, self.views[name])  # type: ignore[arg-type]


def _rowwise_linear(x: Tensor, weights: list[Tensor], biases: list[Tensor], rows: Tensor | None) -> Tensor:
    """Linear with one weight for the whole batch, or with the weight of each image's task."""
    if rows is None:
        return F.linear(x, weights[0], biases[0] if biases else None)
    out = torch.bmm(x, torch.stack(weights)[rows].transpose(1, 2))
    return out + torch.stack(biases)[rows].unsqueeze(1) if biases else out
