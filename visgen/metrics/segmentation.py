"""Mean intersection over union and pixel accuracy of semantic maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ..errors import DataError
from ..structures import IGNORE, SemanticMap
from .protocol import check_mergeable, check_pairs, check_same_classes

__all__ = ["SegmentationMetric", "image_ious"]


class SegmentationMetric:
    """IoU from one confusion matrix over all labelled pixels of the data set (not a mean over images).

    IoU of class c = both / (true + predicted - both), counted where the target is not 255. `mIoU` is the mean over the
    classes that occur anywhere in the data set, in a target or in a prediction: a class that the model invents is 0, a
    class that neither side ever names is left out of the mean and has no `IoU/<class>`. With `over="target"` only
    classes that occur in a target count, and pixels wrongly given to another class still hurt the class they belong to.
    A pixel predicted 255 is a miss of its true class. `pixel_accuracy` is the share of labelled pixels that are right.

    Args:
        classes: Names of the K classes in the order of their ids, K <= 255.
        over: "union" (default) or "target": the classes of the mean, as above.
    Raises:
        DataError: No class, more than 255, or another word for `over`.
    Source: the Jaccard index over a data set as in PASCAL VOC (Everingham et al. 2010).
    """

    def __init__(self, classes: Sequence[str], *, over: str = "union") -> None:
        self.classes = tuple(classes)
        if not 0 < len(self.classes) <= IGNORE:
            raise DataError(f"a segmentation metric got {len(self.classes)} classes; 1 to 255 fit beside the id 255.")
        if over not in ("union", "target"):
            raise DataError(f"over is '{over}'; use 'union' or 'target'.")
        self.over = over
        size = len(self.classes)
        self._counts = torch.zeros(size, size + 1, dtype=torch.int64)  # the last column: predicted 255

    def update(self, predictions: Sequence[SemanticMap], targets: Sequence[SemanticMap]) -> None:
        """Add images; all ids are (H, W) int64.

        Raises:
            DataError: Unequal numbers, another label set than the metric's, or a map of another size than its target.
        """
        check_pairs(predictions, targets)
        for prediction, target in zip(predictions, targets, strict=True):
            check_same_classes(self.classes, prediction.classes, "prediction")
            check_same_classes(self.classes, target.classes, "target")
            self._add(prediction.ids.cpu(), target.ids.cpu())

    def _add(self, predicted: Tensor, true: Tensor) -> None:
        if predicted.shape != true.shape:
            raise DataError(
                f"a predicted map is {tuple(predicted.shape)} and its target {tuple(true.shape)} (H, W); resize the "
                "logits to the target's size before decoding, never the ids afterwards."
            )
        size = len(self.classes)
        labelled = true != IGNORE
        true, predicted = true[labelled], predicted[labelled]
        predicted = torch.where(predicted == IGNORE, size, predicted)
        pairs = torch.bincount(true * (size + 1) + predicted, minlength=size * (size + 1))
        self._counts += pairs.view(size, size + 1)

    def compute(self) -> dict[str, float]:
        """Give `mIoU`, `pixel_accuracy` and `IoU/<class>` of the classes that count.

        Raises:
            DataError: No labelled pixel was added.
        """
        pixels = int(self._counts.sum())
        if pixels == 0:
            raise DataError("no labelled pixel was added to the segmentation metric; every target pixel was 255.")
        size = len(self.classes)
        both = self._counts.diagonal().double()
        true, predicted = self._counts.sum(1), self._counts[:, :size].sum(0)
        union = true + predicted - self._counts.diagonal()
        counted = union > 0 if self.over == "union" else true > 0
        iou = {name: float(both[i] / union[i]) for i, name in enumerate(self.classes) if bool(counted[i])}
        figures = {"mIoU": sum(iou.values()) / len(iou), "pixel_accuracy": float(both.sum()) / pixels}
        return figures | {f"IoU/{name}": value for name, value in iou.items()}

    def confusion(self) -> Tensor:
        """Pixels by true class (rows) and predicted class (columns; the last one is 255): (K, K + 1) int64, a copy."""
        return self._counts.clone()

    def merge(self, other: Self) -> Self:
        """Add the pixels that `other` has seen; gives self."""
        check_mergeable(self, other, "classes", "over")
        self._counts += other._counts
        return self


def image_ious(predicted: Tensor, true: Tensor, classes: int) -> Tensor:
    """Give the IoU of each class in one picture (K,), NaN for classes that its target does not show.

    For intervals over pictures; a class that is predicted where it is not hurts the classes that are there.

    Args:
        predicted, true: Ids (H, W); where `true` is 255 nothing counts.
        classes: K.
    """
    metric = SegmentationMetric([str(i) for i in range(classes)], over="target")
    metric._add(predicted.cpu(), true.cpu())
    counts = metric.confusion().double()
    both = counts.diagonal()
    shown = counts.sum(1)
    union = shown + counts[:, :classes].sum(0) - both
    return torch.where(shown > 0, both / union.clamp(min=1), torch.nan).float()
