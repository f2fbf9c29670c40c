"""Metric depth: the distance along the optical axis of every pixel, in metres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..losses import depth_loss
from ..metrics import DepthMetric
from ..metrics.strata import DepthStrata
from ..options import build_options, call_with
from ..structures import DepthMap
from .protocol import TASKS, Task, resize_logits
from .segmentation import align_to_grid

__all__ = ["DepthLossOptions", "DepthTask"]


@dataclass(frozen=True)
class DepthLossOptions:
    """Options of the depth loss.

    Attributes:
        stride: The loss looks at every `stride`-th pixel (1, 2 or 4).
        silog, log_l1, berhu, gradient, lam: As in `visgen.losses.depth_loss`.
    """

    stride: int = 1
    silog: float = 1.0
    log_l1: float = 0.0
    berhu: float = 0.0
    gradient: float = 0.0
    lam: float = 0.5


class DepthTask(Task):
    """Targets and answers are DepthMap in metres; the head gives log depth, so that an answer is above 0."""

    key = "depth"
    has_classes = False
    head = "depth"
    mirrors = True

    def outputs(self, classes: Sequence[str]) -> int:
        return 1

    def loss(
        self, logits: Tensor, targets: Sequence[Any], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        chosen = build_options(DepthLossOptions, options, "depth loss")
        metres = torch.stack([t.metres for t in targets]).to(logits.device)
        dense, metres = align_to_grid(logits, metres, chosen.stride)
        return depth_loss(
            dense[:, 0].exp(),
            metres,
            silog=chosen.silog,
            log_l1=chosen.log_l1,
            berhu=chosen.berhu,
            gradient=chosen.gradient,
            lam=chosen.lam,
        )

    def decode(
        self,
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
    ) -> list[DepthMap]:
        return [
            DepthMap(resize_logits(one, inside, size, stride)[0].exp())
            for one, inside, size in zip(logits, valid, sizes, strict=True)
        ]

    def metric(self, classes: Sequence[str], **options: Any) -> DepthMetric:
        return call_with(DepthMetric, options, "it")

    def strata(self, classes: Sequence[str], **options: Any) -> DepthStrata:
        return DepthStrata(tuple(classes), **options)


TASKS.register("depth")(DepthTask())
