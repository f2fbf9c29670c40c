"""Retrieval: a picture as a vector that lies close to those of the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..losses.retrieval import ClusterHardNegativeMiner, DiverseAnchorSampler, contrastive_tuple_loss
from ..metrics.retrieval import RetrievalMetric
from ..options import build_options, call_with
from ..structures import Descriptor, PlaceLabel
from .protocol import TASKS, Task

__all__ = ["RetrievalLossOptions", "RetrievalTask", "tuple_loss"]


@dataclass(frozen=True)
class RetrievalLossOptions:
    """Options of the retrieval loss.

    Attributes:
        margin: Distance beyond which a picture of another place costs nothing, 0..2.
        negatives: Pictures of other places in each tuple, at most one of each place.
        anchors: Diverse anchors of each batch; 0 lets every picture be one.
    """

    margin: float = 0.75
    negatives: int = 5
    anchors: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 2 or self.negatives < 1 or self.anchors < 0:
            raise ConfigError(
                f"retrieval loss has margin {self.margin}, negatives {self.negatives}, anchors {self.anchors}; use a "
                "margin in (0, 2], 1 negative or more, and 0 anchors or more."
            )


def tuple_loss(
    descriptors: Tensor,
    places: Tensor,
    options: RetrievalLossOptions,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Give the mean loss of the tuples that a batch holds.

    Anchors are chosen for their diversity, the positive of each is drawn from the other pictures of its place, and
    negatives are the hardest of the batch. An anchor without positive or negatives counts with what it has.

    Args:
        descriptors: (B, D) of length 1.
        places: (B,) int64.
        options: See RetrievalLossOptions.
        generator: Source of the draws; torch's own when None.
    """
    generator = generator or torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    known = descriptors.detach()
    total = len(known)
    if options.anchors:
        order = torch.randperm(total, generator=generator).to(known.device)
        chosen = DiverseAnchorSampler(options.anchors)(known[order], order, generator)
        rows = order[chosen]
    else:
        rows = torch.arange(total, device=known.device)
    others = (places[rows, None] == places) & (rows[:, None] != torch.arange(total, device=known.device))
    has_positive = others.any(1)
    draws = torch.rand(others.shape, generator=generator).to(known.device)
    positive = torch.where(has_positive, draws.masked_fill(~others, -1).argmax(1), rows)
    found, there = ClusterHardNegativeMiner(options.negatives)(known[rows], places[rows], known, places)
    # what is not there stands at the far side of the sphere, where it costs nothing and gives no gradient
    negatives = torch.where(there[..., None], descriptors[found], -descriptors[rows].detach()[:, None])
    anchors = descriptors[rows]
    return contrastive_tuple_loss(anchors, descriptors[positive], negatives, options.margin).mean()


class RetrievalTask(Task):
    """Targets are PlaceLabel, answers Descriptor; the loss is contrastive, over tuples mined inside each batch.

    A batch must hold several pictures of a place: give it a batch size well above the number of places.
    """

    key = "retrieval"
    has_classes = False
    head = "retrieval"

    def outputs(self, classes: Sequence[str]) -> int:
        return 1

    def loss(
        self, logits: Tensor, targets: Sequence[PlaceLabel], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        chosen = build_options(RetrievalLossOptions, options, "retrieval loss")
        names = [t.place for t in targets]
        places = torch.tensor([names.index(n) for n in names], device=logits.device)
        usable = [i for i, t in enumerate(targets) if not t.is_junk]
        if not usable:
            return logits.sum() * 0
        rows = torch.tensor(usable, device=logits.device)
        return tuple_loss(logits[rows], places[rows], chosen)

    def decode(
        self,
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
    ) -> list[Descriptor]:
        return [Descriptor(vector) for vector in F.normalize(logits.to(torch.float32), dim=1)]

    def metric(self, classes: Sequence[str], **options: Any) -> RetrievalMetric:
        return call_with(RetrievalMetric, options, "it")


TASKS.register("retrieval")(RetrievalTask())
