"""What routers have learnt: mutual information between task and expert, dead experts, overlap of tasks.

All functions take P(e|t): for each task t the mean router probability of expert e (full softmax, before the top k) over
that task's rows. They are pure and compute in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError

__all__ = [
    "RoutingSummary",
    "dead_experts",
    "expert_entropy",
    "mutual_information",
    "normalised_mutual_information",
    "routing_summary",
    "task_overlap",
    "top_sets",
]

# Rows come from float32 or bfloat16 softmax means; an average of counts or of gates sums to something else entirely.
_SUM_TOLERANCE = 1e-2


def mutual_information(probabilities: Tensor, task_weights: Tensor | None = None) -> float:
    """I(T; E) = sum_t P(t) KL(P(e|t) || P(e)) in nats, with P(e) = sum_t P(t) P(e|t).

    Args:
        probabilities: P(e|t) (T, E), rows summing to 1 (within 0.01; they are rescaled to 1 exactly).
        task_weights: P(t) (T,) >= 0, rescaled to sum 1; None is 1/T each, whatever the tasks' shares of the rows.
    Returns:
        A value in [0, min(log T, log E)].
    Raises:
        DataError: Not (T, E), negative or not finite, a row that does not sum to 1, or weights that do not fit.
    Source: Chen et al. 2023 (Mod-Squad), arXiv:2212.08066, without its constants inside the logarithm.
    """
    p, prior = _check(probabilities, task_weights)
    marginal = prior @ p
    ratio = torch.where(p > 0, p / marginal.clamp_min(torch.finfo(p.dtype).tiny), torch.ones_like(p))
    return max(0.0, float((prior[:, None] * p * ratio.log()).sum()))


def normalised_mutual_information(probabilities: Tensor, task_weights: Tensor | None = None) -> float:
    """I(T; E) / log T in [0, 1]: 1 when every expert serves one task only; 0 by definition for a single task."""
    tasks = _check(probabilities, task_weights)[0].shape[0]
    return 0.0 if tasks == 1 else min(1.0, mutual_information(probabilities, task_weights) / math.log(tasks))


def expert_entropy(probabilities: Tensor, task_weights: Tensor | None = None) -> float:
    """H(E) in nats of the expert marginal P(e): log E when the bank is used evenly over the tasks."""
    p, prior = _check(probabilities, task_weights)
    return float(torch.special.entr(prior @ p).sum())


def dead_experts(load: Tensor, *, threshold: float = 0.0) -> list[int]:
    """Experts that no task uses: those whose largest entry over the tasks is at most `threshold`.

    Args:
        load: (T, E) >= 0: P(e|t), or the share of a task's rows that select e (the stricter question).
        threshold: 0 for "never"; with softmax probabilities use a share such as 1 / (100 E).
    Raises:
        DataError: Not (T, E), or negative or not finite entries.
    """
    return torch.nonzero(_check_matrix(load).amax(0) <= threshold).flatten().tolist()


def top_sets(probabilities: Tensor, k: int) -> list[frozenset[int]]:
    """The k experts of highest probability of each task; the lower index first among equals.

    Raises:
        DataError: Not (T, E), or k outside 1..E.
    """
    p = _check_matrix(probabilities)
    if not 1 <= k <= p.shape[1]:
        raise DataError(f"k is {k} but there are {p.shape[1]} experts; use 1..{p.shape[1]}.")
    order = torch.sort(p, dim=1, descending=True, stable=True).indices
    return [frozenset(row[:k].tolist()) for row in order]


def task_overlap(probabilities: Tensor, k: int) -> Tensor:
    """Jaccard index |A & B| / |A | B| of the top-k sets of every pair of tasks: (T, T) float64, 1 on the diagonal."""
    sets = top_sets(probabilities, k)
    return torch.tensor([[len(a & b) / len(a | b) for b in sets] for a in sets], dtype=torch.float64)


@dataclass(frozen=True)
class RoutingSummary:
    """The routing of one layer.

    Args:
        tasks: Names of the T tasks.
        experts: Number of experts E.
        mutual_information: I(T; E) in nats.
        normalised: I(T; E) / log T.
        entropy: H(E) in nats.
        dead: Experts that no task uses.
        overlap: Jaccard index of the top sets for each pair of tasks, keyed "a|b" in the order of `tasks`.
    """

    tasks: tuple[str, ...]
    experts: int
    mutual_information: float
    normalised: float
    entropy: float
    dead: tuple[int, ...]
    overlap: dict[str, float]

    def to_dict(self) -> dict[str, object]:
        """A JSON-able form."""
        return {
            "tasks": list(self.tasks),
            "experts": self.experts,
            "I": self.mutual_information,
            "I/logT": self.normalised,
            "H(E)": self.entropy,
            "dead": list(self.dead),
            "overlap": dict(self.overlap),
        }


def routing_summary(
    probabilities: Tensor, tasks: Sequence[str], k: int, *, load: Tensor | None = None
) -> RoutingSummary:
    """Summarise one layer's routing.

    Args:
        probabilities: P(e|t) (T, E).
        tasks: Names of the T tasks.
        k: Experts per token: the size of the sets whose overlap is given.
        load: Share of a task's rows that select each expert (T, E); decides which experts are dead. None: an expert is
            dead when its probability stays at or below 1 / (100 E) for every task.
    Raises:
        DataError: As in `mutual_information` and `top_sets`, or names and rows of different number.
    """
    p, _ = _check(probabilities, None)
    if len(tasks) != p.shape[0]:
        raise DataError(f"{len(tasks)} task names came with {p.shape[0]} rows of router probabilities; give one each.")
    experts = p.shape[1]
    overlap = task_overlap(p, k)
    pairs = {
        f"{tasks[a]}|{tasks[b]}": float(overlap[a, b]) for a in range(len(tasks)) for b in range(a + 1, len(tasks))
    }
    dead = dead_experts(p, threshold=0.01 / experts) if load is None else dead_experts(load)
    return RoutingSummary(
        tuple(tasks),
        experts,
        mutual_information(p),
        normalised_mutual_information(p),
        expert_entropy(p),
        tuple(dead),
        pairs,
    )


def _check_matrix(values: Tensor) -> Tensor:
    p = torch.as_tensor(values).detach().cpu().double()
    if p.ndim != 2 or 0 in p.shape:
        raise DataError(f"router statistics have shape {tuple(p.shape)}; they must be (T, E), one row for each task.")
    if not bool(torch.isfinite(p).all()) or bool((p < 0).any()):
        raise DataError(f"router statistics span {float(p.min())}..{float(p.max())}; they must be finite and >= 0.")
    return p


def _check(probabilities: Tensor, task_weights: Tensor | None) -> tuple[Tensor, Tensor]:
    p = _check_matrix(probabilities)
    sums = p.sum(1)
    wrong = (sums - 1).abs() > _SUM_TOLERANCE
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"router probabilities of task {row} sum to {float(sums[row]):.4g}; each row is a mean of softmax outputs "
            "and sums to 1: a task without rows must be left out."
        )
    p = p / sums[:, None]
    if task_weights is None:
        return p, torch.full((p.shape[0],), 1.0 / p.shape[0], dtype=p.dtype)
    prior = torch.as_tensor(task_weights).detach().cpu().double()
    good = prior.shape == (p.shape[0],) and bool(torch.isfinite(prior).all()) and bool((prior >= 0).all())
    if not good or float(prior.sum()) == 0:
        raise DataError(f"task weights are {prior.tolist()}; give {p.shape[0]} finite values >= 0, not all 0.")
    return p, prior / prior.sum()
