"""Figures as functions of how often each image counts, so that a bootstrap is one product of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError

__all__ = ["Detections", "PrecisionTable", "RatioTable"]

_RECALLS = torch.from_numpy(np.linspace(0.0, 1.0, 101))  # COCO's; torch's own are an ulp lower at ten places
_CELLS = 2_000_000  # numbers held at once while precision is resampled


class RatioTable:
    """Sum of `hits` over sum of `total`: accuracy, recall, IoU, mean error.

    Args:
        hits, total: (N, G) per image and group.
    Raises:
        DataError: Shapes that differ.
    """

    def __init__(self, hits: Tensor, total: Tensor) -> None:
        if hits.shape != total.shape or hits.ndim != 2:
            raise DataError(f"hits are {tuple(hits.shape)} and totals {tuple(total.shape)}; both must be (N, G).")
        self.hits, self.total = hits.double(), total.double()
        self.images, self.groups = hits.shape

    def __call__(self, weights: Tensor) -> Tensor:
        """Give (R, G); NaN where the total is 0."""
        return (weights @ self.hits) / (weights @ self.total)


@dataclass(frozen=True)
class Detections:
    """Boxes of one class over a data set, matched to the true ones at one IoU.

    Args:
        scores: (D,) of the boxes that count.
        image: (D,) int64, the image of each.
        is_right: (D,) bool.
        truth: (N,) number of true boxes of each image.
    """

    scores: Tensor
    image: Tensor
    is_right: Tensor
    truth: Tensor


class PrecisionTable:
    """Average precision of each class at 101 recalls, by COCO's rules.

    An image that counts twice gives its boxes twice, at neighbouring ranks. NaN where a class has no true box.

    Args:
        classes: One Detections for each class, all over the same images.
    Source: Lin et al. 2014, arXiv:1405.0312, and the reference evaluation of COCO.
    """

    def __init__(self, classes: Sequence[Detections]) -> None:
        self.classes = [_ranked(c) for c in classes]
        self.groups = len(self.classes)
        self.images = len(self.classes[0].truth)

    def __call__(self, weights: Tensor) -> Tensor:
        """Give (R, G)."""
        return torch.stack([self._of(c, weights) for c in self.classes], dim=1)

    def _of(self, found: Detections, weights: Tensor) -> Tensor:
        truth = weights @ found.truth.double()
        rows = max(1, _CELLS // max(1, len(found.scores)))
        parts = [self._precision(found, w, t) for w, t in zip(weights.split(rows), truth.split(rows), strict=True)]
        return torch.cat(parts)

    def _precision(self, found: Detections, weights: Tensor, truth: Tensor) -> Tensor:
        nothing = torch.where(truth > 0, 0.0, torch.nan)
        if len(found.scores) == 0:
            return nothing
        each = weights[:, found.image]
        right = (each * found.is_right).cumsum(1)
        precision = right / each.cumsum(1).clamp_min(1e-12)
        precision = precision.flip(1).cummax(1).values.flip(1)  # the best precision at this recall or above
        recall = right / truth.clamp_min(1e-12)[:, None]
        at = torch.searchsorted(recall.contiguous(), _RECALLS.expand(len(recall), -1).contiguous())
        reached = at < recall.shape[1]
        values = precision.gather(1, at.clamp_max(recall.shape[1] - 1)) * reached
        return torch.where(truth > 0, values.mean(1), nothing)


def _ranked(found: Detections) -> Detections:
    order = found.scores.double().argsort(descending=True, stable=True)
    return Detections(found.scores[order], found.image[order], found.is_right[order].double(), found.truth)
