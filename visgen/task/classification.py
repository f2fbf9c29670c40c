"""Image classification: one label per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, nearest
from ..losses import classification_loss, draw_mix, mix_rows, mixed_cross_entropy, shrink_loss
from ..metrics import ClassificationMetric
from ..metrics.strata import ClassificationStrata
from ..options import build_options, call_with
from ..structures import Classification, ClassLabel
from .protocol import TASKS, Task

__all__ = ["ClassificationLossOptions", "ClassificationTask"]


MIXES = ("none", "mixup", "adaptive_mix")


@dataclass(frozen=True)
class ClassificationLossOptions:
    """Options of the classification loss.

    Attributes:
        label_smoothing: Share of each target spread evenly over the classes.
        mix: "none"; "mixup" trains on mixed pictures and labels alone (Zhang et al. 2018, arXiv:1710.09412);
            "adaptive_mix" also pulls the features of the mixed picture to the mixed features, and needs a head that
            embeds, such as "orthogonal" (Liu et al. 2023, arXiv:2303.01559).
        alpha: Of the Beta(alpha, alpha) that gives the share of one picture in a mix; one draw for each batch.
        sigma: Deviation of the noise on the mixed features ("adaptive_mix").
        shrink: Weight of that pull beside the cross entropy ("adaptive_mix").
    """

    label_smoothing: float = 0.0
    mix: Literal["none", "mixup", "adaptive_mix"] = "none"
    alpha: float = 1.0
    sigma: float = 0.05
    shrink: float = 1.0

    def __post_init__(self) -> None:
        if self.mix not in MIXES:
            raise ConfigError(
                f"mix of the classification loss is '{self.mix}'{nearest(self.mix, MIXES)} Known: {', '.join(MIXES)}."
            )
        if self.alpha <= 0 or self.sigma < 0 or self.shrink < 0:
            raise ConfigError(
                f"classification loss has alpha {self.alpha:g}, sigma {self.sigma:g}, shrink {self.shrink:g}; alpha "
                "must be above 0, the others 0 or more."
            )
        if self.mix == "adaptive_mix" and self.label_smoothing:
            raise ConfigError(
                f"mix is 'adaptive_mix' with label_smoothing {self.label_smoothing}; its labels are mixed, not "
                "smoothed: leave label_smoothing out."
            )


class ClassificationTask(Task):
    """Targets are ClassLabel, answers Classification; the loss is cross entropy."""

    key = "classification"
    head = "classification"
    mirrors = True

    def class_counts(self, targets: Sequence[ClassLabel], classes: Sequence[str]) -> Tensor:
        labels = torch.tensor([t.label for t in targets], dtype=torch.int64)
        return torch.bincount(labels, minlength=len(classes)).to(torch.float64)

    def loss(
        self, logits: Tensor, targets: Sequence[Any], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        chosen = build_options(ClassificationLossOptions, options, "classification loss")
        labels = torch.tensor([t.label for t in targets], device=logits.device)
        return classification_loss(logits, labels, label_smoothing=chosen.label_smoothing, class_weights=weights)

    def mixes(self, options: Mapping[str, Any]) -> bool:
        return build_options(ClassificationLossOptions, options, "classification loss").mix != "none"

    def mixed_loss(
        self,
        head: Any,
        see: Callable[[Tensor], Any],
        images: Tensor,
        targets: Sequence[Any],
        options: Mapping[str, Any],
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        chosen = build_options(ClassificationLossOptions, options, "classification loss")
        labels = torch.tensor([t.label for t in targets], device=images.device)
        lam, partner = draw_mix(len(images), chosen.alpha)
        mixed = mix_rows(images, partner, lam)
        if chosen.mix == "mixup":
            logits = head(see(mixed))
            hot = F.one_hot(labels, logits.shape[1]).float()
            loss = classification_loss(
                logits, mix_rows(hot, partner, lam), label_smoothing=chosen.label_smoothing, class_weights=weights
            )
            return {"loss": loss}
        if not (hasattr(head, "embed") and hasattr(head, "score")):
            raise ConfigError(
                f"mix is 'adaptive_mix' but the head is a {type(head).__name__}, which embeds nothing; set head: "
                "orthogonal under model.heads."
            )
        if weights is not None:
            raise ConfigError("mix is 'adaptive_mix', whose labels carry no class weights; leave class_weights out.")
        # One pass for both, so that a batch norm gives them the same statistics.
        clean, hard = head.embed(see(torch.cat([images, mixed]))).chunk(2)
        middle = mix_rows(clean, partner, lam)
        shrink = shrink_loss(hard, middle, chosen.sigma)
        others = labels[partner.to(labels.device)]
        cross = mixed_cross_entropy(head.score(middle) + head.score(hard), labels, others, lam)
        return {"loss": cross + chosen.shrink * shrink, "cross_entropy": cross, "shrink": shrink}

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
        return call_with(ClassificationMetric, options, "it", tuple(classes))

    def strata(self, classes: Sequence[str], **options: Any) -> ClassificationStrata:
        return ClassificationStrata(tuple(classes), **options)


TASKS.register("classification")(ClassificationTask())
