"""How well a score tells out-of-distribution images: AUROC, FPR95 and the two areas under precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ..errors import DataError
from ..structures import OODLabel, OODVerdict
from .protocol import check_mergeable

__all__ = ["OODMetric", "auroc", "ood_figures"]


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Probability that an out image of (M,) scores higher than an in image of (N,), ties counting half."""
    ordered = inside.double().sort().values
    b = outside.double()
    below = torch.searchsorted(ordered, b, right=False)
    not_above = torch.searchsorted(ordered, b, right=True)
    return float((below + not_above).double().mean() / (2 * len(ordered)))


def ood_figures(inside: Tensor, outside: Tensor) -> dict[str, float]:
    """Figures of a score, higher meaning more unlike, on in-distribution and out-of-distribution images.

    `AUROC` is the probability that an out image scores higher than an in image, ties counting half. `FPR95` is the
    share of in images at or above the score that at least 95 % of the out images reach. `AUPR_out` and `AUPR_in` are
    average precisions with the out images, and with the in images under the negated score, as positives.
    `detection_error` is the least mean of the shares of in images above and out images at or below a threshold, over
    all thresholds. All are in [0, 1].

    Args:
        inside, outside: Scores (N,) and (M,), finite.
    Raises:
        DataError: An empty side, or a score that is not finite.
    """
    for name, scores in (("in", inside), ("out", outside)):
        if scores.ndim != 1 or len(scores) == 0 or not bool(scores.isfinite().all()):
            raise DataError(
                f"{name}-distribution scores have shape {tuple(scores.shape)}; give at least one image of each side, "
                "with finite scores (N,)."
            )
    a, b = inside.double(), outside.double()
    reached = b.sort(descending=True).values[-(-len(b) * 95 // 100) - 1]
    return {
        "AUROC": auroc(a, b),
        "FPR95": float((a >= reached).double().mean()),
        "AUPR_in": _average_precision(-a, -b),
        "AUPR_out": _average_precision(b, a),
        "detection_error": _detection_error(a, b),
    }


def _detection_error(inside: Tensor, outside: Tensor) -> float:
    scores, order = torch.cat([inside, outside]).sort()
    is_out = order >= len(inside)
    kept_in = (~is_out).cumsum(0) / len(inside)  # at or below each score, once the last of equal ones is taken
    kept_out = is_out.cumsum(0) / len(outside)
    last = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool, device=scores.device)])
    error = ((1 - kept_in.double() + kept_out.double()) / 2)[last]
    return float(error.min().clamp(max=0.5))  # 0.5: all images on one side


def _average_precision(positives: Tensor, negatives: Tensor) -> float:
    """Sum of precision times rise of recall over the distinct scores, highest first."""
    scores = torch.cat([positives, negatives])
    truth = torch.cat([torch.ones_like(positives), torch.zeros_like(negatives)])
    order = scores.argsort(descending=True)
    scores, truth = scores[order], truth[order]
    last = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool, device=scores.device)])
    hits = truth.cumsum(0)[last]
    taken = torch.arange(1, len(scores) + 1, device=scores.device, dtype=torch.float64)[last]
    rise = torch.diff(hits, prepend=hits.new_zeros(1)) / len(positives)
    return float((hits / taken * rise).sum())


class OODMetric:
    """Collects scores of images with a known side, in any order.

    Args:
        threshold: Also give `id_kept`, the share of in-distribution images with a score at or below it, and
            `ood_found`, the share of the others above it.
    """

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold
        self._scores: dict[bool, list[float]] = {False: [], True: []}

    def update(self, predictions: Sequence[OODVerdict], targets: Sequence[OODLabel]) -> None:
        """Add images; a prediction and its target have the same index."""
        if len(predictions) != len(targets):
            raise DataError(f"{len(predictions)} verdicts came with {len(targets)} targets; give one for each image.")
        for verdict, target in zip(predictions, targets, strict=True):
            self._scores[target.is_ood].append(verdict.score)

    def compute(self) -> dict[str, float]:
        """Give the figures of `ood_figures`; raises DataError when a side has no image."""
        inside, outside = (torch.tensor(self._scores[side], dtype=torch.float64) for side in (False, True))
        figures = ood_figures(inside, outside)
        if self.threshold is not None:
            figures["id_kept"] = float((inside <= self.threshold).double().mean())
            figures["ood_found"] = float((outside > self.threshold).double().mean())
        return figures

    def merge(self, other: Self) -> Self:
        """Add the images of another metric with the same threshold; gives self."""
        check_mergeable(self, other, "threshold")
        for side in (False, True):
            self._scores[side] += other._scores[side]
        return self
