"""Scores made of others."""

from __future__ import annotations

import torch
from torch import Tensor

from ..nn.readout import Readout
from .distance_scores import Mahalanobis
from .logit_scores import MaxLogit
from .score import OOD_SCORES, OODScore

__all__ = ["MaxLogitMahalanobis"]


@OOD_SCORES.register("max_logit_mahalanobis")
class MaxLogitMahalanobis(OODScore):
    """The sum of both scores, each brought to mean 0 and deviation 1 on the images it was fitted on.

    Args:
        normalise, rank, half: As in `Mahalanobis`.
    """

    moments: Tensor

    def __init__(self, classes: int, dim: int, normalise: bool = True, rank: int = 64, half: bool = False) -> None:
        super().__init__(classes, dim)
        self.max_logit = MaxLogit(classes, dim)
        self.mahalanobis = Mahalanobis(classes, dim, normalise, rank, half)
        self.register_buffer("moments", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        parts = [part.fit(logits, features, labels)(logits, features) for part in (self.max_logit, self.mahalanobis)]
        self.moments.copy_(torch.stack([torch.stack([p.mean(), p.std().clamp(min=1e-12)]) for p in parts]))

    def _class_distances(self, logits: Tensor, features: Tensor) -> Tensor:
        return self.mahalanobis._class_distances(logits, features)

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        parts = (self.max_logit(logits, features), self.mahalanobis(logits, features))
        return sum((p - m[0]) / m[1] for p, m in zip(parts, self.moments.float(), strict=True))  # type: ignore[return-value]
