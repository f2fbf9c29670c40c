"""Losses of scene graphs: cross entropy of edges, normalised by how dense the graph is, and of nodes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["EDGE_NORMS", "edge_loss", "edge_targets"]

EDGE_NORMS = ("baseline", "dnorm", "dnorm-fgbg")


def edge_targets(pairs: Tensor, triplets: Tensor, nodes: int, predicates: int) -> Tensor:
    """Give the distribution (M, P + 1) that each pair shall have; column 0 means "no relation".

    A pair that is annotated with several predicates shares itself equally among them.

    Args:
        pairs: (M, 2) int64 subject and object index.
        triplets: (m, 3) int64 subject, object, predicate id.
        nodes: Number of boxes that the indices count.
        predicates: P.
    """
    table = torch.zeros(nodes * nodes, predicates + 1, device=pairs.device)
    place = triplets[:, 0] * nodes + triplets[:, 1]
    table.index_put_((place, triplets[:, 2] + 1), torch.ones_like(place, dtype=table.dtype), accumulate=True)
    total = table.sum(1, keepdim=True)
    table = table / total.clamp(min=1)
    table[:, 0] = (total[:, 0] == 0).to(table.dtype)
    return table[pairs[:, 0] * nodes + pairs[:, 1]]


def edge_loss(logits: Tensor, target: Tensor, norm: str = "dnorm", weights: Tensor | None = None) -> Tensor:
    """Cross entropy of M edges of which F are relations and B are none, as one scalar.

    - "baseline": sum CE / M, so that a relation counts the less the larger and sparser its graph is;
    - "dnorm": sum CE / F; a relation's gradient does not depend on how many pairs without relation there are;
    - "dnorm-fgbg": sum over relations CE / F plus sum over the others CE / B.
    Without any relation all three are the baseline.

    Args:
        logits: (M, P + 1); the softmax runs in float32.
        target: Distributions (M, P + 1); column 0 is "no relation".
        norm: One of EDGE_NORMS.
        weights: Of the classes (P + 1,), or None; a weighted edge still counts as one in M, F and B.
    Raises:
        ValueError: Shapes that do not fit, or an unknown norm.
    Source: Knyazev et al. 2020, arXiv:2005.08230, equations 3 to 6, with all weights 1. The reference weighs each
        edge by 1 when a batch holds no relation; the baseline is kept there.
    """
    if norm not in EDGE_NORMS:
        raise ValueError(f"norm is '{norm}'; use one of {', '.join(EDGE_NORMS)}.")
    if logits.shape != target.shape or logits.ndim != 2:
        raise ValueError(
            f"edge logits {tuple(logits.shape)} and targets {tuple(target.shape)} must both be (M, P + 1)."
        )
    if len(logits) == 0:
        return logits.sum() * 0.0
    log_p = F.log_softmax(logits.float(), dim=1)
    each = -(target * log_p if weights is None else target * weights * log_p).sum(1)  # (M,)
    relation = target[:, 0] == 0
    count, found = len(each), int(relation.sum())
    if norm == "baseline" or found == 0:
        return each.sum() / count
    if norm == "dnorm":
        return each.sum() / found
    rest = each[~relation].sum() / max(count - found, 1)
    return each[relation].sum() / found + rest
