"""Sums over the tokens of a routing decision, from which every routing loss and figure can be computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .route import GONE
from .routing import Routing, TaskRows

__all__ = ["merge_statistics", "routing_statistics"]


def routing_statistics(routing: Routing, tasks: TaskRows, collect: bool = False) -> dict[str, Tensor]:
    """Sums over the tokens of each task present, from which every routing loss can be computed.

    Args:
        routing: A decision for tokens (B, N).
        tasks: The tasks of the batch, G of them present.
        collect: Also keep the decision of every token.
    Returns:
        `task` (G,) int64 task ids; `rows` (G,) float32 tokens; `probabilities` (G, E) sums of p, `entropy` (G,)
        sums of -sum p log p and `z` (G,) sums of logsumexp^2, all differentiable; `selected` (G, E) float32 counts
        of choices. With `collect` also `experts` (B, N, k), `weights` (B, N, k) and `image_task` (B,). Where tasks
        see parts of a bank, E counts the bank, and closed experts have probability 0.
    """
    view, logits = routing.view, routing.logits
    if view is not None and view.closed is not None:
        logits = logits.index_select(-1, view.open)
    p = logits.softmax(-1)
    log_z = logits.logsumexp(-1)
    # H = log Z - sum p l, which needs no logarithm of a probability
    entropy = log_z - (p * logits).sum(-1)
    if view is not None:
        p = p.new_zeros(*p.shape[:-1], view.bank).index_add(-1, view.open_experts, p)
    batch, tokens, num_experts = p.shape
    per_image = torch.cat([p.sum(1), entropy.sum(1, keepdim=True), log_z.square().sum(1, keepdim=True)], dim=1)
    flat = routing.experts.reshape(batch, -1)
    chosen = torch.zeros(batch, num_experts, device=p.device)
    visited = torch.ones(flat.shape, device=p.device) if routing.kept is None else routing.kept.view_as(flat).float()
    chosen.scatter_add_(1, flat, visited)
    if tasks.rows is None:
        sums, chosen = per_image.sum(0, keepdim=True), chosen.sum(0, keepdim=True)
        rows = torch.full((1,), float(batch * tokens), device=p.device)
    else:
        groups = len(tasks.names)  # no product of matrices, which autocast would round
        sums = per_image.new_zeros(groups, per_image.shape[1]).index_add(0, tasks.rows, per_image)
        chosen = chosen.new_zeros(groups, num_experts).index_add(0, tasks.rows, chosen)
        rows = torch.bincount(tasks.rows, minlength=groups).to(torch.float32) * tokens
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


def merge_statistics(parts: Sequence[dict[str, Tensor]], place: Tensor) -> dict[str, Tensor]:
    """Join the `routing_statistics` that one layer gave for the groups of a batch.

    Args:
        parts: One per group; no task is in two groups.
        place: Where image i of the batch stands among the groups' images one after the other, (B,) int64.
    Returns:
        The same fields, tasks sorted by id. Where groups visit different numbers of experts, `experts` is -1 and
        `weights` 0 in the slots that a group lacks.
    """
    if not parts:
        return {}
    order = torch.cat([part["task"] for part in parts]).argsort()
    found = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if name == "image_task":
            found[name] = torch.cat(values)[place]
        elif name in ("experts", "weights"):
            k = max(v.shape[-1] for v in values)
            filler = GONE if name == "experts" else 0
            found[name] = torch.cat([F.pad(v, (0, k - v.shape[-1]), value=filler) for v in values])[place]
        else:
            found[name] = torch.cat(values)[order]
    return found
