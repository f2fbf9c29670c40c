"""Image classification: one label per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..losses import classification_loss
from ..metrics import ClassificationMetric
from ..options import build_options
from ..structures import Classification, ClassLabel
from .protocol import TASKS, Task

__all__ = ["ClassificationLossOptions", "ClassificationTask"]


@dataclass(frozen=True)
class ClassificationLossOptions:
    """`label_smoothing`: share of each target spread evenly over the classes."""

    label_smoothing: float = 0.0


class ClassificationTask(Task):
    """Targets are ClassLabel, answers Classification; the loss is cross entropy."""

    key = "classification"
    head = "classification"

    def class_counts(self, targets: Sequence[ClassLabel], classes: Sequence[str]) -> Tensor:
        labels = torch.tensor([t.label for t in targets], dtype=torch.int64)
        return torch.bincount(labels, minlength=len(classes)).to(torch.float64)

    def loss(
        self, logits: Tensor, targets: Sequence[Any], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        chosen = build_options(ClassificationLossOptions, options, "classification loss")
        labels = torch.tensor([t.label for t in targets], device=logits.device)
        return classification_loss(logits, labels, label_smoothing=chosen.label_smoothing, class_weights=weights)

    def decode(
        self,
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
    ) -> list[Classification]:
        probabilities = logits.to(torch.float32).softmax(dim=-1)
        return [Classification(p, tuple(classes)) for p in probabilities]

    def metric(self, classes: Sequence[str], **options: Any) -> ClassificationMetric:
        return ClassificationMetric(tuple(classes), **options)


TASKS.register("classification")(ClassificationTask())
