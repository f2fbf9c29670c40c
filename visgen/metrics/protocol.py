"""What every metric offers, and the checks at their common door."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol, Self, runtime_checkable

from ..errors import ConfigError, DataError, nearest

__all__ = ["FIGURES", "Metric", "check_figure", "check_mergeable", "check_pairs", "check_same_classes"]

FIGURES = {
    "classification": ("top1", "top5", "accuracy/*", "mean_class_accuracy"),
    "depth": ("AbsRel", "RMSE", "delta1"),
    "detection": ("AP", "AP50", "AP75", "AP/*", "AP50/*", "AR@100"),
    "ood": ("AUROC", "FPR95", "AUPR_*", "detection_error", "id_kept", "ood_found"),
    "retrieval": ("mAP", "R@1"),
    "scene_graph": ("R@*", "*?R@*", "*R_tr@*", "rank_tr_*"),
    "segmentation": ("mIoU", "pixel_accuracy", "IoU/*"),
}
"""Task to the names that its figures may have; `*` stands for anything. Of other tasks nothing is known."""


def check_figure(figure: str, task: str, protocols: Collection[str], where: str) -> None:
    """Raise ConfigError unless the metric of a task may give a figure; with several protocols it bears one's name."""
    figures = FIGURES.get(task, ("*",))
    names = [f"{protocol}/{name}" if len(protocols) > 1 else name for protocol in protocols for name in figures]
    if not any(fnmatchcase(figure, name) for name in names):
        raise ConfigError(f"{where} '{figure}'{nearest(figure, names)} Its figures are {', '.join(names)}.")


@runtime_checkable
class Metric(Protocol):
    """A figure over a data set, fed batch by batch.

    Feeding the images in any order, in any batches, or on several machines whose metrics are merged gives the same
    figures (up to the rounding of float64 sums).
    """

    def update(self, predictions: Sequence[Any], targets: Sequence[Any]) -> None:
        """Add images; a prediction and its target have the same index."""

    def compute(self) -> dict[str, float]:
        """Give the figures by name; raises DataError when nothing countable was added."""

    def merge(self, other: Self) -> Self:
        """Add what `other`, of the same class and options, has seen; gives self."""


def check_pairs(predictions: Sequence[Any], targets: Sequence[Any]) -> None:
    """Raise DataError unless there is one prediction for each target."""
    if len(predictions) != len(targets):
        raise DataError(
            f"{len(predictions)} predictions came with {len(targets)} targets; give one prediction for each target."
        )


def check_same_classes(expected: Sequence[str], given: Sequence[str], what: str) -> None:
    """Raise DataError unless `given` is the label set of the metric: the same names in the same order."""
    if tuple(given) == tuple(expected):
        return
    if len(given) != len(expected):
        detail = f"has {len(given)} classes but the metric has {len(expected)}"
    else:
        first = next(i for i, (a, b) in enumerate(zip(given, expected, strict=True)) if a != b)
        detail = f"calls class {first} '{given[first]}' but the metric calls it '{expected[first]}'"
    raise DataError(f"the {what} {detail}; predictions, targets and metric must share one label set in one order.")


def check_mergeable(ours: Any, theirs: Any, *options: str) -> None:
    """Raise DataError unless the two metrics are of one class with equal `options`."""
    if type(ours) is not type(theirs):
        raise DataError(f"a {type(theirs).__name__} cannot be merged into a {type(ours).__name__}; use one class.")
    for name in options:
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            raise DataError(f"the metrics differ in {name}: {a!r} and {b!r}; merge metrics of equal options only.")
