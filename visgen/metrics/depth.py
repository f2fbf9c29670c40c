"""AbsRel, RMSE and delta1 of depth maps, with the alignment and the aggregation stated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ..errors import DataError
from ..structures import DepthMap
from .protocol import check_mergeable, check_pairs

__all__ = ["ALIGNMENTS", "DepthMetric", "align_depth"]

ALIGNMENTS = ("none", "scale", "scale_shift", "disparity")
_AGGREGATES = ("images", "pixels")


class DepthMetric:
    """Errors of depth against measured metres, over the pixels that were measured.

    `AbsRel` = mean |p - t| / t, `RMSE` = sqrt(mean (p - t)^2) in metres, `delta1` = share of max(p / t, t / p) < 1.25.
    Both aggregations are kept: "images" (the default) takes each figure within an image and then the mean over images,
    so that every photograph counts the same; "pixels" pools all pixels of the data set, so that images with dense
    measurements count more. Pixels with a target of 0 (or outside `min_depth`..`max_depth`) never count; an image with
    none is skipped and counted in `skipped`. Predictions are aligned per image (`align_depth`) and then limited to
    `min_depth`..`max_depth`, so a pixel that the model leaves out (0) is a full error, not a pass.

    Args:
        align: "none" (the default: metres are metres), "scale", "scale_shift" or "disparity".
        min_depth: Metres, > 0; nearer targets are not counted.
        max_depth: Metres; farther targets are not counted (80 for KITTI, 10 for NYUv2 by habit). None: no cap.
        aggregate: "images" or "pixels": what `compute()` gives when not told.
    Raises:
        DataError: An unknown word, an empty depth range, or "disparity" without `max_depth`.
    Source: Eigen et al. 2014, arXiv:1406.2283.
    """

    def __init__(
        self,
        *,
        align: str = "none",
        min_depth: float = 1e-3,
        max_depth: float | None = None,
        aggregate: str = "images",
    ) -> None:
        if align not in ALIGNMENTS:
            raise DataError(f"align is '{align}'; use one of {', '.join(ALIGNMENTS)}.")
        _check_aggregate(aggregate)
        if min_depth <= 0 or (max_depth is not None and max_depth <= min_depth):
            raise DataError(f"the depth range is {min_depth}..{max_depth} m; it needs 0 < min_depth < max_depth.")
        if align == "disparity" and max_depth is None:
            raise DataError("align is 'disparity' but max_depth is None; a disparity near 0 needs a cap in metres.")
        self.align = align
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.aggregate = aggregate
        self.skipped = 0  # images without a countable pixel
        self._images = 0
        self._pixels = 0
        self._of_images = torch.zeros(3, dtype=torch.float64)  # sums over images of AbsRel, RMSE, delta1
        self._of_pixels = torch.zeros(3, dtype=torch.float64)  # sums over pixels of relative, squared, within 1.25

    @property
    def images(self) -> int:
        """Images counted so far."""
        return self._images

    @property
    def pixels(self) -> int:
        """Pixels counted so far."""
        return self._pixels

    def update(self, predictions: Sequence[DepthMap], targets: Sequence[DepthMap]) -> None:
        """Add images.

        Raises:
            DataError: Unequal numbers, a map of another size than its target, a target that is not in metres, or a
                prediction whose kind does not fit the alignment.
        """
        check_pairs(predictions, targets)
        for prediction, target in zip(predictions, targets, strict=True):
            self._add(prediction, target)

    def _add(self, prediction: DepthMap, target: DepthMap) -> None:
        p = prediction.metres.detach().cpu().double()
        t = target.metres.cpu().double()
        if p.shape != t.shape:
            raise DataError(
                f"a predicted depth map is {tuple(p.shape)} and its target {tuple(t.shape)} (H, W); resize the "
                "prediction to the target's size first."
            )
        if target.kind != "metric_m":
            raise DataError(f"a target is of kind '{target.kind}'; depth is measured against 'metric_m' only.")
        self._check_kind(prediction.kind)
        valid = t >= self.min_depth
        if self.max_depth is not None:
            valid &= t <= self.max_depth
        if not bool(valid.any()):
            self.skipped += 1
            return
        p, t = p[valid], t[valid]
        p = align_depth(
            p, t, self.align, inverse=prediction.kind == "inverse", min_depth=self.min_depth, max_depth=self.max_depth
        )
        relative = (p - t).abs() / t
        squared = (p - t) ** 2
        within = (torch.maximum(p / t, t / p) < 1.25).double()
        self._of_images += torch.stack([relative.mean(), squared.mean().sqrt(), within.mean()])
        self._of_pixels += torch.stack([relative.sum(), squared.sum(), within.sum()])
        self._images += 1
        self._pixels += t.numel()

    def _check_kind(self, kind: str) -> None:
        if self.align == "none" and kind != "metric_m":
            raise DataError(
                f"a prediction is of kind '{kind}' but align is 'none'; choose scale, scale_shift or disparity."
            )
        if kind == "inverse" and self.align != "disparity":
            raise DataError(f"a prediction is of kind 'inverse' but align is '{self.align}'; use align='disparity'.")

    def compute(self, aggregate: str | None = None) -> dict[str, float]:
        """Give `AbsRel`, `RMSE` (metres) and `delta1` under one aggregation.

        Args:
            aggregate: "images" or "pixels"; None is what the metric was built with.
        Raises:
            DataError: No measured pixel was added, or another word.
        """
        aggregate = self.aggregate if aggregate is None else aggregate
        _check_aggregate(aggregate)
        if self._images == 0:
            raise DataError(f"no measured pixel was added to the depth metric ({self.skipped} images without any).")
        if aggregate == "images":
            relative, rmse, within = (self._of_images / self._images).tolist()
        else:
            relative, squared, within = (self._of_pixels / self._pixels).tolist()
            rmse = squared**0.5
        return {"AbsRel": relative, "RMSE": rmse, "delta1": within}

    def protocol(self) -> dict[str, object]:
        """The options that a printed figure must name."""
        return {
            "align": self.align,
            "min_depth": self.min_depth,
            "max_depth": self.max_depth,
            "aggregate": self.aggregate,
            "images": self._images,
            "pixels": self._pixels,
            "skipped": self.skipped,
        }

    def merge(self, other: Self) -> Self:
        """Add the images that `other` has seen; gives self."""
        check_mergeable(self, other, "align", "min_depth", "max_depth", "aggregate")
        self.skipped += other.skipped
        self._images += other._images
        self._pixels += other._pixels
        self._of_images += other._of_images
        self._of_pixels += other._of_pixels
        return self


def align_depth(
    prediction: Tensor,
    target: Tensor,
    align: str,
    *,
    inverse: bool = False,
    min_depth: float = 1e-3,
    max_depth: float | None = None,
) -> Tensor:
    """Fit one image's prediction to its measured pixels and limit it to the depth range.

    "none" changes nothing; "scale" multiplies by median(t) / median(p) (Zhou et al. 2017, arXiv:1704.07813);
    "scale_shift" takes a p + b by least squares in metres; "disparity" takes a / p + b by least squares against 1 / t
    (a p + b when `inverse`) and inverts (Ranftl et al. 2020, arXiv:1907.01341). A constant prediction has no
    slope to fit and becomes the mean of the target (of its inverse), never NaN.

    Args:
        prediction: Values (N,) at the measured pixels.
        target: Metres (N,), > 0.
        align: One of `ALIGNMENTS`.
        inverse: The prediction is proportional to 1 / depth already; for "disparity".
        min_depth: Metres, > 0.
        max_depth: Metres or None for no upper limit; "disparity" needs it.
    Returns:
        Metres (N,) in min_depth..max_depth.
    """
    if align == "scale":
        middle = _median(prediction)
        prediction = prediction * (_median(target) / middle) if float(middle) > 0 else prediction
    elif align == "scale_shift":
        prediction = _line(prediction, target)
    elif align == "disparity":
        if max_depth is None:
            raise DataError("align is 'disparity' but max_depth is None; a disparity near 0 needs a cap in metres.")
        disparity = prediction if inverse else 1.0 / prediction.clamp_min(min_depth)
        prediction = 1.0 / _line(disparity, 1.0 / target).clamp_min(1.0 / max_depth)
    elif align != "none":
        raise DataError(f"align is '{align}'; use one of {', '.join(ALIGNMENTS)}.")
    return prediction.clamp(min=min_depth, max=max_depth)


def _median(values: Tensor) -> Tensor:
    """The median, of an even number the mean of the two in the middle, as numpy takes it."""
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _line(x: Tensor, y: Tensor) -> Tensor:
    """The least-squares line through (x, y), evaluated at x; the mean of y where x is constant."""
    dx, dy = x - x.mean(), y - y.mean()
    spread = (dx * dx).sum()
    # below this share the "slope" would be fitted to float32 noise of the model
    flat = spread <= 1e-12 * (x * x).sum()
    slope = torch.where(flat, torch.zeros_like(spread), (dx * dy).sum() / spread.clamp_min(torch.finfo(x.dtype).tiny))
    return slope * dx + y.mean()


def _check_aggregate(aggregate: str) -> None:
    if aggregate not in _AGGREGATES:
        raise DataError(f"aggregate is '{aggregate}'; use 'images' or 'pixels'.")
