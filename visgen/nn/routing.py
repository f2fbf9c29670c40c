"""Who decides which experts a token visits: top-k gates, one router per task, and the figures a loss needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, UnknownName, nearest
from .init import init_router_

__all__ = [
    "GATE_NORMS",
    "NOISES",
    "Router",
    "Routing",
    "TaskRouter",
    "TaskRows",
    "check_gates",
    "route_top_k",
    "routing_statistics",
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
    """

    weights: Tensor
    experts: Tensor
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Softmax over all experts (..., E) float32; computed when asked, which prediction does not."""
        return self.logits.softmax(-1)


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


def check_gates(num_experts: int, k: int, gate_norm: str) -> None:
    """Refuse a number of active experts or a gate norm that cannot work; see `route_top_k`."""
    if not 1 <= k <= num_experts:
        raise ConfigError(
            f"k is {k} but this layer has {num_experts} experts; use 1..{num_experts} or raise num_experts."
        )
    if gate_norm not in GATE_NORMS:
        raise ConfigError(
            f"gate_norm '{gate_norm}' is unknown{nearest(gate_norm, GATE_NORMS) or ';'} use topk or none."
        )
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
            raise UnknownName(f"task '{task}' is not routed by this model{nearest(task, tasks) or ';'} known: {known}.")
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
    ) -> None:
        super().__init__()
        check_gates(num_experts, top_k, gate_norm)
        if noise not in NOISES:
            raise ConfigError(f"noise '{noise}' is unknown{nearest(noise, NOISES) or ';'} use {', '.join(NOISES)}.")
        self.num_experts, self.top_k, self.gate_norm, self.noise = num_experts, top_k, gate_norm, noise
        self.noise_std = 1 / num_experts if noise_std is None else noise_std
        outputs = 2 * num_experts if noise == "learned" else num_experts
        self.tasks = nn.ModuleDict({name: TaskRouter(width, outputs, hidden) for name in tasks})

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
        return route_top_k(logits, self.top_k, self.gate_norm)


def _rowwise_linear(x: Tensor, weights: list[Tensor], biases: list[Tensor], rows: Tensor | None) -> Tensor:
    """Linear with one weight for the whole batch, or with the weight of each image's task."""
    if rows is None:
        return F.linear(x, weights[0], biases[0] if biases else None)
    out = torch.bmm(x, torch.stack(weights)[rows].transpose(1, 2))
    return out + torch.stack(biases)[rows].unsqueeze(1) if biases else out


def routing_statistics(routing: Routing, tasks: TaskRows, collect: bool = False) -> dict[str, Tensor]:
    """Sums over the tokens of each task present, from which every routing loss can be computed.

    Args:
        routing: A decision for tokens (B, N).
        tasks: The tasks of the batch, G of them present.
        collect: Also keep the decision of every token.
    Returns:
        `task` (G,) int64 task ids; `rows` (G,) float32 tokens; `probabilities` (G, E) sums of p, `entropy` (G,)
        sums of -sum p log p and `z` (G,) sums of logsumexp^2, all differentiable; `selected` (G, E) float32 counts
        of choices. With `collect` also `experts` (B, N, k), `weights` (B, N, k) and `image_task` (B,).
    """
    p = routing.probabilities
    batch, tokens, num_experts = p.shape
    log_z = routing.logits.logsumexp(-1)
    # H = log Z - sum p l, which needs no logarithm of a probability
    entropy = log_z - (p * routing.logits).sum(-1)
    per_image = torch.cat([p.sum(1), entropy.sum(1, keepdim=True), log_z.square().sum(1, keepdim=True)], dim=1)
    flat = routing.experts.reshape(batch, -1)
    chosen = torch.zeros(batch, num_experts, device=p.device)
    chosen.scatter_add_(1, flat, torch.ones(flat.shape, device=p.device))
    if tasks.rows is None:
        sums, chosen = per_image.sum(0, keepdim=True), chosen.sum(0, keepdim=True)
        rows = torch.full((1,), float(batch * tokens), device=p.device)
    else:
        member = F.one_hot(tasks.rows, len(tasks.names)).to(per_image.dtype).t()  # (G, B)
        sums, chosen = member @ per_image, member.to(chosen.dtype) @ chosen
        rows = member.sum(1) * tokens
    found = {
        "task": tasks.ids,
        "rows": rows,
        "probabilities": sums[:, :num_experts],
        "entropy": sums[:, num_experts],
        "z": sums[:, num_experts + 1],
        "selected": chosen,
    }
    if collect:
        image_task = tasks.ids.expand(batch) if tasks.rows is None else tasks.ids[tasks.rows]
        found |= {"experts": routing.experts, "weights": routing.weights.detach(), "image_task": image_task}
    return found
