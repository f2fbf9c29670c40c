"""Strata of image labels: classes and light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .protocol import ALL, LIGHT, Part, Stratum, check_bounds, check_filled, light_strata
from .table import RatioTable

__all__ = ["ClassificationStrata"]


class ClassificationStrata:
    """Recall of each class beside the mean over the other classes, and top-1 by light.

    Args:
        classes: Names of the K classes.
        light: Mean luma below which a picture is dark, and from which it is bright.
    """

    def __init__(self, classes: Sequence[str], *, light: Sequence[float] = LIGHT) -> None:
        self.classes, self.bounds = tuple(classes), check_bounds(light)
        self._labels: list[int] = []
        self._right: list[bool] = []
        self._light: list[Tensor] = []

    def update(self, predictions: Sequence[Any], targets: Sequence[Any], light: Tensor) -> None:
        """Add images; predictions hold `probabilities` (K,) and targets `label`."""
        for prediction, target in zip(predictions, targets, strict=True):
            self._labels.append(int(target.label))
            self._right.append(int(prediction.probabilities.argmax()) == int(target.label))
        self._light.append(light.detach().cpu().double())

    def strata(self) -> list[Stratum]:
        """Give the strata; see StrataCollector."""
        check_filled(len(self._labels), "classification")
        labels, right = torch.tensor(self._labels), torch.tensor(self._right, dtype=torch.float64)
        total = torch.nn.functional.one_hot(labels, len(self.classes)).double()
        each = RatioTable(total * right[:, None], total)
        pooled = RatioTable(right[:, None], torch.ones_like(right)[:, None])
        counts = total.sum(0).long().tolist()
        present = [k for k, n in enumerate(counts) if n]
        found = [Stratum(ALL, ALL, "top1", pooled, Part((0,)), None, len(labels), "images", len(labels))]
        for k in present if len(present) > 1 else ():
            others = Part(tuple(i for i in present if i != k))
            found.append(
                Stratum("class", self.classes[k], "recall", each, Part((k,)), others, counts[k], "images", counts[k])
            )
        return found + light_strata(pooled, (0,), "top1", torch.cat(self._light), self.bounds)
