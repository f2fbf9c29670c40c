"""What routers are trained towards beside the task: dependence between task and expert, and even use of experts.

All functions read the sums that `visgen.nn.routing_sums.routing_statistics` gives for one layer: `task` (G,), `rows`
(G,), `probabilities` (G, E), `selected` (G, E), `entropy` (G,) and `z` (G,), for the G tasks of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError, nearest

__all__ = [
    "RoutingLoss",
    "RoutingLossConfig",
    "RunningMutualInformation",
    "balance_loss",
    "importance_loss",
    "merge_routing",
    "mutual_information",
    "z_loss",
]

MODES = ("running", "pooled")
TINY = 1e-20  # keeps log finite for a probability that underflowed; far below any softmax output of interest


def mutual_information(sums: Tensor, rows: Tensor) -> Tensor:
    """Mutual information between task and expert in nats, differentiable.

    Tasks weigh the same however many rows they have. With P(e|t) = sums / rows and P(e) its mean over tasks,
    I = mean_t sum_e P(e|t) log(P(e|t) / P(e)), between 0 and min(log T, log E).

    Args:
        sums: Sums of router probabilities over the rows of each task (T, E).
        rows: Number of rows (T,); tasks without rows are left out.
    Source: Chen et al. 2023 (Mod-Squad), arXiv:2212.08066, section 3.3, without the constants added there.
    """
    seen = rows > 0
    conditional = sums[seen] / rows[seen].unsqueeze(1)
    if not len(conditional):
        return sums.sum() * 0
    marginal = conditional.mean(0)
    ratio = conditional.clamp_min(TINY).log() - marginal.clamp_min(TINY).log()
    return (conditional * ratio).sum(1).mean()


def balance_loss(sums: Tensor, selected: Tensor, rows: Tensor) -> Tensor:
    """E sum_e f_e P(e|t) over the experts that task t uses at all, averaged over tasks; 1 when all E are used evenly.

    f is the share of a task's choices that fell on e. Experts with P(e|t) <= 1 / (4 E) are left out, so that a task
    is balanced within its experts and not pushed back to those it has left.

    Args:
        sums, rows: As in `mutual_information`.
        selected: Choices per expert (T, E).
    Source: Fedus et al. 2021 (Switch), arXiv:2101.03961, section 2.2, per task and restricted.
    """
    num_experts = sums.shape[1]
    seen = rows > 0
    p = sums[seen] / rows[seen].unsqueeze(1)
    share = selected[seen] / selected[seen].sum(1, keepdim=True).clamp_min(1)
    used = p > 1 / (4 * num_experts)
    return num_experts * (share * p * used).sum(1).mean()


def importance_loss(sums: Tensor) -> Tensor:
    """Squared coefficient of variation over experts of the probability mass (T, E) summed over tasks.

    Source: Shazeer et al. 2017, arXiv:1701.06538, section 4.
    """
    mass = sums.sum(0)
    return mass.var(correction=0) / mass.mean().square()


def z_loss(z: Tensor, rows: Tensor) -> Tensor:
    """Mean over rows of the squared log-sum-exp of the logits, from its sums per task (T,).

    Source: Zoph et al. 2022 (ST-MoE), arXiv:2202.08906, section 3.1.
    """
    return z.sum() / rows.sum()


def merge_routing(steps: Sequence[Sequence[Mapping[str, Tensor]]]) -> list[dict[str, Tensor]]:
    """Join the statistics of several forward passes (each a list over layers) into one list over layers.

    For steps made of several passes; passes of the same task become one row of sums.
    """
    return [_merge(layers) for layers in zip(*steps, strict=True)]


def _merge(layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    task, place = torch.cat([layer["task"] for layer in layers]).unique(return_inverse=True)
    found = {"task": task}
    for name in ("rows", "probabilities", "selected", "entropy", "z"):
        parts = torch.cat([layer[name] for layer in layers])
        found[name] = parts.new_zeros(len(task), *parts.shape[1:]).index_add(0, place, parts)
    return found


class RunningMutualInformation(nn.Module):
    """Mutual information between task and expert when a step shows one task (or a few) at a time.

    Keeps, for each task, the sum of router probabilities and of rows over past steps: plain sums for the first
    `warmup` updates of that task, exponentially forgotten ones after. Their quotient estimates P(e|t) without the
    bias of a running mean that started at zero, at any sampling ratio of the tasks. `forward` gives the task's part of
    I with this estimate held constant in the logarithm: its gradient is that of I where the estimate is exact, and
    the sum over tasks is then I itself. `step` folds what was seen into the estimate, once per optimiser step, outside
    autograd and safe under recomputation, because `forward` is called on recorded statistics.

    Args:
        num_tasks, num_experts: T and E.
        momentum: Share of the past kept at each later update.
        warmup: Updates of a task before its loss starts.
    Source: after the running joint of Chen et al. 2023 (heterogeneous training), arXiv:2306.17165. Different here: a
        counter per task and not one for all, un-normalised sums, buffers that are saved, tasks not yet seen are left
        out of P(e), and `step` sums over all processes.
    """

    sums: Tensor
    rows: Tensor
    updates: Tensor
    pending_sums: Tensor
    pending_rows: Tensor

    def __init__(self, num_tasks: int, num_experts: int, momentum: float = 0.99, warmup: int = 100) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ConfigError(f"momentum is {momentum}; use 0 <= momentum < 1.")
        if warmup < 0:
            raise ConfigError(f"warmup is {warmup}; use 0 or more updates.")
        self.momentum, self.warmup = momentum, warmup
        for name in ("sums", "pending_sums"):
            self.register_buffer(name, torch.zeros(num_tasks, num_experts))
        for name in ("rows", "pending_rows"):
            self.register_buffer(name, torch.zeros(num_tasks))
        self.register_buffer("updates", torch.zeros(num_tasks, dtype=torch.int64))

    def conditional(self) -> Tensor:
        """The estimate of P(e|t), (T, E); zero rows for tasks never seen."""
        return self.sums / self.rows.clamp_min(TINY).unsqueeze(1)

    def value(self) -> Tensor:
        """Mutual information of the estimate in nats, over the tasks seen so far."""
        return mutual_information(self.sums, self.rows)

    def forward(self, task: Tensor, probabilities: Tensor, rows: Tensor) -> Tensor:
        """Give the part of I that belongs to the tasks of this batch, and remember the batch for `step`.

        Args:
            task: Task ids (G,), each once.
            probabilities: Sums of router probabilities (G, E), with gradient.
            rows: Rows (G,), all positive.
        """
        self.observe(task, probabilities, rows)
        conditional = self.conditional()
        seen = (self.rows > 0).sum().clamp_min(1)
        marginal = conditional.sum(0) / seen
        ratio = conditional[task].clamp_min(TINY).log() - marginal.clamp_min(TINY).log()
        ready = self.updates[task] >= self.warmup
        current = probabilities / rows.unsqueeze(1)
        return ((current * ratio).sum(1) * ready).sum() / seen

    @torch.no_grad()
    def observe(self, task: Tensor, probabilities: Tensor, rows: Tensor) -> None:
        """Add a batch to what the next `step` folds in."""
        self.pending_sums.index_add_(0, task, probabilities.detach().to(self.pending_sums.dtype))
        self.pending_rows.index_add_(0, task, rows.to(self.pending_rows.dtype))

    @torch.no_grad()
    def step(self) -> None:
        """Fold the batches since the last step into the estimate; on several processes use `RoutingLoss.step`."""
        present = self.pending_rows > 0
        keep = torch.where(self.updates < self.warmup, 1.0, self.momentum)
        keep = torch.where(present, keep, 1.0)
        self.sums.mul_(keep.unsqueeze(1)).add_(self.pending_sums)
        self.rows.mul_(keep).add_(self.pending_rows)
        self.updates.add_(present)
        self.discard()

    def discard(self) -> None:
        """Forget the batches since the last step, for a step that is skipped."""
        self.pending_sums.zero_()
        self.pending_rows.zero_()


@dataclass(frozen=True)
class RoutingLossConfig:
    """Weights of the routing losses, each summed over layers.

    Attributes:
        mi: Mutual information, maximised. Published weights: 5e-4 (tiny) and 5e-3 (small, base).
        balance: `balance_loss`. importance: `importance_loss`. z: `z_loss`.
        entropy: Mean entropy of a token's router probabilities; a positive weight makes tokens more decided.
        sharpen: -sum_e P_batch(e|t) log P(e|t) against the running estimate, for adapting to a single task.
        mode: "running" for steps with one task, "pooled" for the exact value where each step shows all tasks.
        momentum, warmup: See `RunningMutualInformation`.
    """

    mi: float = 5e-4
    balance: float = 0.0
    importance: float = 0.0
    z: float = 0.0
    entropy: float = 0.0
    sharpen: float = 0.0
    mode: str = "running"
    momentum: float = 0.99
    warmup: int = 100

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"mode '{self.mode}' is unknown{nearest(self.mode, MODES, ';')} use running or pooled.")


class RoutingLoss(nn.Module):
    """All routing losses over all routed layers.

    Args:
        num_experts: Bank of each routed layer, in the order of the statistics.
        num_tasks: T.
        config: Weights.
    """

    def __init__(self, num_experts: Sequence[int], num_tasks: int, config: RoutingLossConfig | None = None) -> None:
        super().__init__()
        self.config = config or RoutingLossConfig()
        self.num_tasks = num_tasks
        self.layers = nn.ModuleList(
            RunningMutualInformation(num_tasks, e, self.config.momentum, self.config.warmup) for e in num_experts
        )

    def forward(self, statistics: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Give the losses of one forward pass, or of several joined by `merge_routing`.

        Args:
            statistics: One mapping per routed layer.
        Returns:
            `loss`, the weighted sum to add to the task's, and each term summed over layers without its weight and
            gradient: `mutual_information`, `balance`, `importance`, `z`, `entropy`, and `sharpen` if it has a weight.
        Raises:
            DataError: The number of layers is not the one the loss was built for.
        """
        if len(statistics) != len(self.layers):
            raise DataError(
                f"routing statistics have {len(statistics)} layers but the loss was built for {len(self.layers)}; pass "
                "features.extras['routing'] of a forward pass with gradients on."
            )
        cfg = self.config
        weights = {
            "mutual_information": -cfg.mi,
            "balance": cfg.balance,
            "importance": cfg.importance,
            "z": cfg.z,
            "entropy": cfg.entropy,
            "sharpen": cfg.sharpen,
        }
        per_layer = [self._terms(layer, s) for layer, s in zip(self.layers, statistics, strict=True)]
        names = per_layer[0] if per_layer else {}
        totals = {name: torch.stack([terms[name] for terms in per_layer]).sum() for name in names}
        loss = sum((weights[name] * total for name, total in totals.items() if weights[name]), torch.zeros(()))
        return {"loss": loss, **{name: total.detach() for name, total in totals.items()}}

    def _terms(self, running: nn.Module, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        task, sums, rows = found["task"], found["probabilities"], found["rows"]
        if self.config.mode == "running":
            information = running(task, sums, rows)
        else:
            running.observe(task, sums, rows)  # type: ignore[operator]
            information = mutual_information(
                sums.new_zeros(self.num_tasks, sums.shape[1]).index_add(0, task, sums),
                rows.new_zeros(self.num_tasks).index_add(0, task, rows),
            )
        terms = {
            "mutual_information": information,
            "balance": balance_loss(sums, found["selected"], rows),
            "importance": importance_loss(sums),
            "z": z_loss(found["z"], rows),
            "entropy": found["entropy"].sum() / rows.sum(),
        }
        if self.config.sharpen:
            estimate = running.conditional()[task].clamp_min(TINY).log()  # type: ignore[operator]
            known = (running.updates[task] > 0).unsqueeze(1)  # type: ignore[index]
            terms["sharpen"] = -(sums / rows.unsqueeze(1) * estimate * known).sum(1).mean()
        return terms

    @torch.no_grad()
    def step(self) -> None:
        """Fold the step into the running estimates; with several processes, after one sum over all of them."""
        layers: list[RunningMutualInformation] = list(self.layers)  # type: ignore[arg-type]
        if layers and torch.distributed.is_available() and torch.distributed.is_initialized():
            pending = [t for layer in layers for t in (layer.pending_sums, layer.pending_rows)]
            flat = torch.cat([t.flatten() for t in pending])
            torch.distributed.all_reduce(flat)
            for target, part in zip(pending, flat.split([t.numel() for t in pending]), strict=True):
                target.copy_(part.view_as(target))
        for layer in layers:
            layer.step()

    def discard(self) -> None:
        """Forget the batches since the last step, for a step that is skipped."""
        for layer in self.layers:
            layer.discard()  # type: ignore[operator]
