"""Strata of semantic maps: classes, sizes of regions and light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...structures import IGNORE
from .protocol import ALL, LIGHT, Part, Stratum, check_bounds, check_filled, light_strata, sizes_of
from .table import RatioTable

__all__ = ["REGIONS", "SegmentationStrata"]

REGIONS = (0.01, 0.1)
"""Share of a picture below which what a class covers of it is small, and from which it is large."""
_NAMES = ("small", "medium", "large")


class SegmentationStrata:
    """IoU of each class beside the mean over the others, recall of pixels by what a class covers, and mIoU by light.

    A class counts where it occurs in a target or an answer, as in SegmentationMetric; what answers invent lowers its
    mean, but is no stratum.

    Args:
        classes: Names of the K classes.
        light: Mean luma below which a picture is dark, and from which it is bright.
    """

    def __init__(self, classes: Sequence[str], *, light: Sequence[float] = LIGHT) -> None:
        self.classes, self.bounds = tuple(classes), check_bounds(light)
        self._both: list[Tensor] = []
        self._true: list[Tensor] = []
        self._named: list[Tensor] = []
        self._light: list[Tensor] = []

    def update(self, predictions: Sequence[Any], targets: Sequence[Any], light: Tensor) -> None:
        """Add images; both sides hold `ids` (H, W) int64, 255 ignored."""
        size = len(self.classes)
        for prediction, target in zip(predictions, targets, strict=True):
            true, answer = target.ids.cpu(), prediction.ids.cpu()
            labelled = true != IGNORE
            true, answer = true[labelled], answer[labelled]
            self._both.append(torch.bincount(true[true == answer], minlength=size))
            self._true.append(torch.bincount(true, minlength=size))
            self._named.append(torch.bincount(answer[answer != IGNORE], minlength=size))
        self._light.append(light.detach().cpu().double())

    def strata(self) -> list[Stratum]:
        """Give the strata; see StrataCollector."""
        check_filled(len(self._both), "segmentation")
        both, true, named = (torch.stack(rows) for rows in (self._both, self._true, self._named))
        each = RatioTable(both, true + named - both)
        seen = (true > 0).sum(0).tolist()
        counted = tuple(k for k, n in enumerate((true + named).sum(0).tolist()) if n)
        images = len(both)
        found = [Stratum(ALL, ALL, "mIoU", each, Part(counted), None, images, "images", images)]
        for k in counted:
            if seen[k] and len(counted) > 1:
                others = Part(tuple(i for i in counted if i != k))
                found.append(
                    Stratum("class", self.classes[k], "IoU", each, Part((k,)), others, seen[k], "images", seen[k])
                )
        found += self._sizes(both, true)
        return found + light_strata(each, counted, "mIoU", torch.cat(self._light), self.bounds)

    def _sizes(self, both: Tensor, true: Tensor) -> list[Stratum]:
        """Recall of pixels in regions of one size, the mean over classes; a region is a class within a picture."""
        share = true.double() / true.sum(1, keepdim=True).clamp_min(1)
        size = sizes_of(share, REGIONS)
        inside = [(size == b) & (true > 0) for b in range(3)]
        table = RatioTable(torch.cat([both * m for m in inside], 1), torch.cat([true * m for m in inside], 1))
        groups = [tuple(range(b * len(self.classes), (b + 1) * len(self.classes))) for b in range(3)]
        found = []
        for b, mask in enumerate(inside):
            others = tuple(g for other in range(3) if other != b and inside[other].any() for g in groups[other])
            if mask.any() and others:
                count, images = int(mask.sum()), int(mask.any(1).sum())
                found.append(
                    Stratum("size", _NAMES[b], "recall", table, Part(groups[b]), Part(others), count, "regions", images)
                )
        return found
