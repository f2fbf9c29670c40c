"""Boundary detection: F-measure of thinned edge maps against what several people marked, with a tolerance in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ..errors import DataError
from ..nn.blur import blur
from ..nn.offset_sample import sample_offset
from .protocol import check_mergeable, check_pairs

__all__ = ["BoundaryMetric", "thin_ridges"]


def thin_ridges(strength: Tensor, sigma: float = 1.0, slack: float = 1.01) -> Tensor:
    """Keep the crests of an edge map: a pixel stays where neither neighbour across the edge is stronger.

    The direction across the edge is that of the strongest curvature of the map, blurred by `sigma`, or of its slope
    where that is larger; the two neighbours are read one pixel away on each side, bilinear between pixels.

    Args:
        strength: (H, W) in [0, 1].
        sigma: Of the Gaussian blur before the curvature is taken, in pixels.
        slack: A neighbour must be stronger by this factor to win, so that flat crests survive.
    Returns:
        (H, W): the strength on crests, 0 elsewhere.
    Source: non-maximum suppression after Canny 1986, with the direction from the Hessian of the map, which a map of
        edges has and a picture has not.
    """
    if strength.ndim != 2:
        raise DataError(f"an edge map is {tuple(strength.shape)}; give one map (H, W).")
    smooth = blur(strength.float()[None], sigma)[0]
    padded = F.pad(smooth[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    centre = padded[1:-1, 1:-1]
    xx = padded[1:-1, 2:] - 2 * centre + padded[1:-1, :-2]
    yy = padded[2:, 1:-1] - 2 * centre + padded[:-2, 1:-1]
    xy = (padded[2:, 2:] - padded[2:, :-2] - padded[:-2, 2:] + padded[:-2, :-2]) / 4
    # The larger eigenvalue of [[xx, xy], [xy, yy]] belongs to the angle theta. On a crest the smaller one is stronger;
    # on a flank, which curves upwards, the larger one.
    theta = 0.5 * torch.atan2(2 * xy, xx - yy)
    angle = torch.where(xx + yy > 0, theta, theta + torch.pi / 2)
    # Between crest and flank the curvature vanishes, and the slope tells the way.
    dx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    dy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    curvature = ((xx + yy).abs() + torch.hypot(xx - yy, 2 * xy)) / 2
    angle = torch.where(torch.hypot(dx, dy) > curvature, torch.atan2(dy, dx), angle)
    step = torch.stack([angle.cos(), angle.sin()])  # (2, H, W): x, y across the edge
    stronger = torch.maximum(sample_offset(smooth, step), sample_offset(smooth, -step))
    return torch.where(smooth * slack >= stronger, strength.float(), 0.0)


class BoundaryMetric:
    """F-measure of boundary maps over a data set: at the best single threshold (ODS) and the best per image (OIS).

    Each predicted map is thinned (`thin_ridges`) and cut at every threshold. A predicted pixel is right where somebody
    marked a boundary within the tolerance; a marked pixel is found where a predicted one lies within it, and counts by
    the share of people who marked it. Figures: `ODS`, `OIS`, `AP` (area under precision over recall) and `threshold`.

    Args:
        tolerance: Distance in units of the image diagonal.
        thresholds: Number of evenly spaced thresholds inside (0, 1).
    Source: Martin, Fowlkes and Malik 2004, doi:10.1109/TPAMI.2004.1273918. Differs: theirs pairs predicted and marked
        pixels one to one for each person; with the shares of all people in one map a pairing would punish a thin line
        for meeting two people's lines, so a pixel may serve several here, and thinning takes the gain of thick lines.
    """

    def __init__(self, *, tolerance: float = 0.0075, thresholds: int = 33) -> None:
        if not 0 < tolerance < 1 or thresholds < 1:
            raise DataError(
                f"tolerance is {tolerance} and thresholds {thresholds}; use a tolerance in (0, 1), such as 0.0075, and "
                "1 or more thresholds."
            )
        self.tolerance, self.thresholds = tolerance, thresholds
        self._counts: list[np.ndarray] = []  # per image (thresholds, 4): right, predicted, found, marked

    def update(self, predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> None:
        """Add images.

        Args:
            predictions: Edge strength (H, W) in [0, 1] of each.
            targets: Share of people who marked each pixel (H, W) in [0, 1].
        Raises:
            DataError: Unequal numbers or sizes, or values outside [0, 1].
        """
        check_pairs(predictions, targets)
        for prediction, target in zip(predictions, targets, strict=True):
            if prediction.shape != target.shape or prediction.ndim != 2:
                raise DataError(
                    f"an edge map is {tuple(prediction.shape)} and its target {tuple(target.shape)}; both must be "
                    "(H, W) and equal."
                )
            for name, value in (("an edge map", prediction), ("a target", target)):
                if not bool(((value >= 0) & (value <= 1)).all()):
                    raise DataError(
                        f"{name} holds values from {float(value.min()):.3g} to {float(value.max()):.3g}; boundaries "
                        "are shares in [0, 1]."
                    )
            self._counts.append(self._count(thin_ridges(prediction.cpu()).numpy(), target.cpu().double().numpy()))

    def _count(self, crest: np.ndarray, share: np.ndarray) -> np.ndarray:
        reach = self.tolerance * float(np.hypot(*crest.shape))
        marked = share > 0
        near_marked = distance_transform_edt(~marked) <= reach if marked.any() else np.zeros_like(marked)
        rows = np.zeros((self.thresholds, 4))
        for i, threshold in enumerate(self._levels()):
            predicted = crest >= threshold
            near = distance_transform_edt(~predicted) <= reach if predicted.any() else np.zeros_like(predicted)
            rows[i] = (predicted & near_marked).sum(), predicted.sum(), share[near].sum(), share.sum()
        return rows

    def _levels(self) -> np.ndarray:
        return np.arange(1, self.thresholds + 1) / (self.thresholds + 1)

    def compute(self) -> dict[str, float]:
        """Give the figures; raises DataError when no image was added or nobody marked anything."""
        if not self._counts or not any(rows[0, 3] > 0 for rows in self._counts):
            raise DataError("no marked boundary was added to the boundary metric; add images with targets above 0.")
        counts = np.stack(self._counts)  # (images, thresholds, 4)
        total = counts.sum(0)
        precision, recall, f = _scores(total)
        best = int(f.argmax())
        # nothing can be found where nobody marked anything: fewest false alarms are best there
        own = np.where(counts[:, 0, 3] > 0, _scores(counts)[2].argmax(1), counts[:, :, 1].argmin(1))
        chosen = counts[np.arange(len(counts)), own].sum(0)
        order = np.argsort(recall)
        area = float(np.trapezoid(precision[order], recall[order]))
        return {
            "ODS": float(f[best]),
            "OIS": float(_scores(chosen)[2]),
            "AP": area,
            "precision": float(precision[best]),
            "recall": float(recall[best]),
            "threshold": float(self._levels()[best]),
        }

    def merge(self, other: Self) -> Self:
        """Add the images that `other` has seen; gives self."""
        check_mergeable(self, other, "tolerance", "thresholds")
        self._counts += other._counts
        return self


def _scores(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision (1 where nothing was predicted), recall and F of counts (..., 4)."""
    right, predicted, found, marked = np.moveaxis(counts, -1, 0)
    precision = np.where(predicted > 0, right / np.maximum(predicted, 1), 1.0)
    recall = found / np.maximum(marked, 1e-12)
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-12)
