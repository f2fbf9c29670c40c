"""Top-1 and top-5 accuracy and the confusion matrix of image labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ..errors import DataError
from ..structures import Classification, ClassLabel
from .protocol import check_mergeable, check_pairs, check_same_classes

__all__ = ["ClassificationMetric"]


class ClassificationMetric:
    """Accuracy over images; every figure is a share in [0, 1].

    `top1` is the share of images whose label has the highest probability, `top5` of those whose label is among the five
    highest. Among equal probabilities the class with the lower id comes first, so a constant output earns no luck.
    `top5` is left out when there are five classes or fewer, where it would be 1 by construction.

    Args:
        classes: Names of the K classes in the order of their ids.
        per_class: Also give `accuracy/<class>` for every class with images, and `mean_class_accuracy` over these.
    """

    def __init__(self, classes: Sequence[str], *, per_class: bool = False) -> None:
        self.classes = tuple(classes)
        self.per_class = per_class
        size = len(self.classes)
        if size == 0:
            raise DataError("a classification metric got 0 classes; give the names of the label set.")
        self._confusion = torch.zeros(size, size, dtype=torch.int64)
        self._in_five = 0

    def update(self, predictions: Sequence[Classification], targets: Sequence[ClassLabel]) -> None:
        """Add images.

        Raises:
            DataError: Unequal numbers, or another label set than the metric's.
        """
        check_pairs(predictions, targets)
        for prediction, target in zip(predictions, targets, strict=True):
            check_same_classes(self.classes, prediction.classes, "prediction")
            check_same_classes(self.classes, target.classes, "target")
            p, label = prediction.probabilities.detach().cpu(), target.label
            rank = int((p > p[label]).sum()) + int((p[:label] == p[label]).sum())
            best = int((p == p.max()).nonzero()[0])
            self._confusion[label, best] += 1
            self._in_five += rank < 5

    def compute(self) -> dict[str, float]:
        """Give `top1`, `top5` where it means something, and the figures of each class when asked for.

        Raises:
            DataError: No image was added.
        """
        images = int(self._confusion.sum())
        if images == 0:
            raise DataError("no image was added to the classification metric; call update first.")
        right = self._confusion.diagonal().double()
        figures = {"top1": float(right.sum()) / images}
        if len(self.classes) > 5:
            figures["top5"] = self._in_five / images
        if self.per_class:
            size = self._confusion.sum(1)
            accuracy = {c: float(right[i] / size[i]) for i, c in enumerate(self.classes) if size[i] > 0}
            figures["mean_class_accuracy"] = sum(accuracy.values()) / len(accuracy)
            figures |= {f"accuracy/{name}": value for name, value in accuracy.items()}
        return figures

    def confusion(self) -> Tensor:
        """Images by true class (rows) and predicted class (columns): (K, K) int64, a copy."""
        return self._confusion.clone()

    def merge(self, other: Self) -> Self:
        """Add the images that `other` has seen; gives self."""
        check_mergeable(self, other, "classes", "per_class")
        self._confusion += other._confusion
        self._in_five += other._in_five
        return self
