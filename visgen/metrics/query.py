"""Figures of answers that were asked for class by class, as pictures are: what is absent is asked for too, and counts.

A model that is asked only for what is there cannot be caught inventing things. These metrics therefore take the answer
to each question about one image and one class, present or not, and refuse to give a figure when nothing absent was
ever asked for. The label set that decides what is there is the target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch

from ..errors import DataError
from ..structures import IGNORE, Boxes, Classification, Masks, SemanticMap
from .detection import DetectionMetric
from .protocol import check_mergeable, check_pairs

__all__ = ["ChoiceMetric", "QueryDetectionMetric", "QuerySegmentationMetric"]

TIE = 1e-6  # probabilities that differ by less are the rounding of a float32 softmax


class QuerySegmentationMetric:
    """IoU of masks that were asked for one class at a time, pooled over the data set.

    IoU of a class = both / (true + painted - both) over all labelled pixels of all images that it was asked of, so that
    paint on an image without the class lowers it. `mIoU` is the mean over the classes that are true or painted
    anywhere. `absent_area` is the mean share of labelled pixels that answers about absent classes paint, and
    `absent_rate` the share of these answers that paint more than `least_area` of them.

    Args:
        classes: Names of the K classes of the label set.
        least_area: Share of the image from which paint on an absent class counts as an invented object.
    """

    def __init__(self, classes: Sequence[str], *, least_area: float = 0.01) -> None:
        self.classes = tuple(classes)
        if not self.classes:
            raise DataError("a query metric got 0 classes; give the names of the label set.")
        self.least_area = least_area
        self._counts = torch.zeros(len(self.classes), 3, dtype=torch.int64)  # both, true, painted
        self._absent: list[float] = []
        self.queries = 0

    def update(
        self, predictions: Sequence[SemanticMap], targets: Sequence[SemanticMap | Masks], asked: Sequence[str]
    ) -> None:
        """Add answers.

        Args:
            predictions: A map whose classes hold the one asked for; its other pixels are 255 or other classes.
            targets: The map of each image, over the label set of the metric; or its masks, of which those of one class
                count together and every pixel is labelled.
            asked: The class that was asked for.
        Raises:
            DataError: Unequal numbers, an unknown class, or maps of different sizes.
        """
        check_pairs(predictions, targets)
        check_pairs(asked, targets)
        for prediction, target, name in zip(predictions, targets, asked, strict=True):
            _check_asked(name, self.classes, prediction.classes)
            if tuple(target.classes) != self.classes:
                raise DataError(
                    f"a target has {len(target.classes)} classes, not the {len(self.classes)} of the metric."
                )
            if prediction.size != target.size:
                raise DataError(f"an answer is {prediction.size} (height, width) and its target {target.size}.")
            place = self.classes.index(name)
            if isinstance(target, Masks):
                labelled = torch.ones(target.size, dtype=torch.bool)
                true = target.masks[target.labels == place].any(dim=0).cpu()
            else:
                labelled, true = (target.ids != IGNORE).cpu(), (target.ids == place).cpu()
            painted = (prediction.ids == prediction.classes.index(name)).cpu() & labelled
            row = [int((painted & true).sum()), int(true.sum()), int(painted.sum())]
            self._counts[place] += torch.tensor(row)
            self.queries += 1
            if row[1] == 0 and bool(labelled.any()):
                self._absent.append(row[2] / int(labelled.sum()))

    def compute(self) -> dict[str, float]:
        """Give `mIoU`, `absent_area`, `absent_rate` and `IoU/<class>`.

        Raises:
            DataError: No answer was added, or none about an absent class.
        """
        _check_absent(self.queries, len(self._absent))
        both, true, painted = self._counts.unbind(1)
        union = true + painted - both
        iou = {name: float(both[k] / union[k]) for k, name in enumerate(self.classes) if int(union[k]) > 0}
        absent = torch.tensor(self._absent, dtype=torch.float64)
        figures = {
            "mIoU": sum(iou.values()) / len(iou) if iou else 0.0,
            "absent_area": float(absent.mean()),
            "absent_rate": float((absent > self.least_area).double().mean()),
        }
        return figures | {f"IoU/{name}": value for name, value in iou.items()}

    def protocol(self) -> dict[str, Any]:
        """What a printed figure must name."""
        return {"queries": self.queries, "absent_queries": len(self._absent), "least_area": self.least_area}

    def merge(self, other: Self) -> Self:
        """Add what `other` has seen; gives self."""
        check_mergeable(self, other, "classes", "least_area")
        self._counts += other._counts
        self._absent += other._absent
        self.queries += other.queries
        return self


class QueryDetectionMetric:
    """COCO's box figures of boxes that were asked for one class at a time.

    All boxes of all answers take part with their scores, also those about absent classes, which can only be wrong.
    Truth is the boxes of the classes that were asked of an image. `absent_boxes` is the mean number of boxes in answers
    about absent classes whose score reaches `threshold`.

    Args:
        classes: Names of the K classes of the label set.
        threshold: Score from which a box would be shown.
    """

    def __init__(self, classes: Sequence[str], *, threshold: float = 0.5) -> None:
        self.classes = tuple(classes)
        if not self.classes:
            raise DataError("a query metric got 0 classes; give the names of the label set.")
        self.threshold = threshold
        self._answers: dict[Any, dict[str, Boxes]] = {}
        self._targets: dict[Any, Boxes] = {}
        self._absent: list[int] = []

    def update(
        self, predictions: Sequence[Boxes], targets: Sequence[Boxes], asked: Sequence[str], images: Sequence[Any]
    ) -> None:
        """Add answers.

        Args:
            predictions: Boxes with scores, whose classes hold the one asked for; boxes of other classes do not count.
            targets: The boxes of each image, over the label set of the metric.
            asked: The class that was asked for.
            images: What tells the image apart; several questions share one.
        Raises:
            DataError: Unequal numbers, an unknown class, no scores, other sizes, or a class asked twice.
        """
        check_pairs(predictions, targets)
        check_pairs(asked, targets)
        check_pairs(images, targets)
        for prediction, target, name, image in zip(predictions, targets, asked, images, strict=True):
            _check_asked(name, self.classes, prediction.classes)
            if prediction.scores is None:
                raise DataError("an answer has boxes without scores; average precision ranks by score, so give them.")
            if prediction.size != target.size:
                raise DataError(f"an answer is {prediction.size} (height, width) and its target {target.size}.")
            answers = self._answers.setdefault(image, {})
            if name in answers:
                raise DataError(f"'{name}' was asked of image {image!r} twice; count each question once.")
            answers[name] = prediction.where(name).to("cpu")
            self._targets[image] = target.to("cpu")
            is_boxed = target.complete is None or name in target.complete  # else it may be there without a box
            if is_boxed and name not in target.names:
                shown = answers[name].scores
                self._absent.append(int((shown >= self.threshold).sum()) if shown is not None else 0)

    def compute(self) -> dict[str, float]:
        """Give the figures of `DetectionMetric` and `absent_boxes`.

        Raises:
            DataError: No answer was added, none about an absent class, or no true box that counts.
        """
        _check_absent(sum(map(len, self._answers.values())), len(self._absent))
        metric = DetectionMetric(self.classes)
        for image, answers in self._answers.items():
            target = self._targets[image]
            kept = torch.tensor([name in answers for name in target.names], dtype=torch.bool)
            metric.update([self._joined(answers, target.size)], [target.select(kept)])
        return {**metric.compute(), "absent_boxes": sum(self._absent) / len(self._absent)}

    def _joined(self, answers: dict[str, Boxes], size: tuple[int, int]) -> Boxes:
        """All answers about one image as one value over the label set."""
        labels = [torch.full((len(boxes),), self.classes.index(name)) for name, boxes in answers.items()]
        scores = [boxes.scores for boxes in answers.values() if boxes.scores is not None]
        corners = torch.cat([boxes.xyxy for boxes in answers.values()])
        return Boxes(corners, torch.cat(labels).to(torch.int64), size, self.classes, torch.cat(scores))

    def protocol(self) -> dict[str, Any]:
        """What a printed figure must name."""
        queries = sum(map(len, self._answers.values()))
        return {"queries": queries, "absent_queries": len(self._absent), "threshold": self.threshold}

    def merge(self, other: Self) -> Self:
        """Add what `other` has seen, of other images; gives self."""
        check_mergeable(self, other, "classes", "threshold")
        shared = set(self._answers) & set(other._answers)
        if shared:
            raise DataError(f"both metrics have seen image {next(iter(shared))!r}; split the data by image.")
        self._answers |= other._answers
        self._targets |= other._targets
        self._absent += other._absent
        return self


class ChoiceMetric:
    """Accuracy of answers that choose among the classes of the question: yes or no, or one of several panels.

    An answer is right when the right class is more probable than every other; equal probabilities are wrong, however
    the tie would fall. `accuracy` is over all questions, `mean_accuracy` the mean over the right answers that occur
    (for questions with yes and no pass "yes" and "no" as `group`), which a constant answer cannot lift above 1 / their
    number; `ties` is the share of undecided answers.
    """

    def __init__(self) -> None:
        self._groups: dict[str, list[int]] = {}  # right answers, ties, questions

    def update(
        self, predictions: Sequence[Classification], right: Sequence[str], group: Sequence[str] | None = None
    ) -> None:
        """Add answers.

        Args:
            predictions: Probabilities over the classes of each question.
            right: The right class of each.
            group: What to average over instead of the right class.
        Raises:
            DataError: Unequal numbers, or a right class that the question does not offer.
        """
        check_pairs(predictions, right)
        check_pairs(predictions, right if group is None else group)
        for k, (prediction, name) in enumerate(zip(predictions, right, strict=True)):
            if name not in prediction.classes:
                raise DataError(f"'{name}' is right but the question offers {', '.join(prediction.classes)}.")
            odds = prediction.probabilities.detach().cpu()
            place = prediction.classes.index(name)
            others = torch.cat((odds[:place], odds[place + 1 :]))
            margin = float(odds[place] - others.max()) if len(others) else 1.0
            best = odds.topk(min(2, len(odds))).values
            tied = len(best) > 1 and float(best[0] - best[1]) <= TIE
            row = self._groups.setdefault(name if group is None else group[k], [0, 0, 0])
            row[0] += margin > TIE
            row[1] += tied
            row[2] += 1

    def compute(self) -> dict[str, float]:
        """Give `accuracy`, `mean_accuracy` and `ties`; raises DataError when no answer was added."""
        if not self._groups:
            raise DataError("no answer was added to the choice metric; call update first.")
        right, ties, total = (sum(row[k] for row in self._groups.values()) for k in range(3))
        shares = [row[0] / row[2] for row in self._groups.values()]
        return {"accuracy": right / total, "mean_accuracy": sum(shares) / len(shares), "ties": ties / total}

    def merge(self, other: Self) -> Self:
        """Add what `other` has seen; gives self."""
        check_mergeable(self, other)
        for name, row in other._groups.items():
            mine = self._groups.setdefault(name, [0, 0, 0])
            mine[:] = [a + b for a, b in zip(mine, row, strict=True)]
        return self


def _check_asked(name: str, classes: Sequence[str], answered: Sequence[str]) -> None:
    if name not in classes:
        raise DataError(f"'{name}' was asked for, which is none of the {len(classes)} classes of the metric.")
    if name not in answered:
        raise DataError(f"'{name}' was asked for, but the answer is about {', '.join(answered) or 'nothing'}.")


def _check_absent(queries: int, absent: int) -> None:
    if queries == 0:
        raise DataError("no answer was added to the query metric; call update first.")
    if absent == 0:
        raise DataError(
            f"none of the {queries} answers is about an absent class, so nothing could have been invented; ask for "
            "absent classes too."
        )
