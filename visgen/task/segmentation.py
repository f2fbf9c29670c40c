"""Semantic segmentation: one class per pixel, with several label sets as named heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import segmentation_loss
from ..metrics import SegmentationMetric
from ..metrics.strata import SegmentationStrata
from ..options import build_options, call_with
from ..structures import SemanticMap
from .protocol import TASKS, Task, resize_logits

__all__ = ["SegmentationLossOptions", "SegmentationTask"]

# Above this many logits one answer is taken at the working size and its ids are enlarged by nearest neighbour.
MAX_FULL_LOGITS = 2**25


@dataclass(frozen=True)
class SegmentationLossOptions:
    """Options of the segmentation loss.

    Attributes:
        stride: The loss looks at every `stride`-th pixel (1, 2 or 4); logits are resized to that grid.
        label_smoothing, dice, lovasz, region_stride: As in `visgen.losses.segmentation_loss`.
    """

    stride: int = 1
    label_smoothing: float = 0.0
    dice: float = 0.0
    lovasz: float = 0.0
    region_stride: int = 1


class SegmentationTask(Task):
    """Targets and answers are SemanticMap; the loss is cross entropy with optional region terms."""

    key = "segmentation"
    head = "segmentation"
    mirrors = True

    def class_counts(self, targets: Sequence[SemanticMap], classes: Sequence[str]) -> Tensor:
        total = torch.zeros(len(classes), dtype=torch.float64)
        for target in targets:
            total += torch.bincount(target.ids.flatten(), minlength=256)[: len(classes)]
        return total

    def loss(
        self, logits: Tensor, targets: Sequence[Any], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        chosen = build_options(SegmentationLossOptions, options, "segmentation loss")
        ids = torch.stack([t.ids for t in targets]).to(logits.device)
        dense, ids = align_to_grid(logits, ids, chosen.stride)
        return segmentation_loss(
            dense,
            ids,
            class_weights=weights,
            label_smoothing=chosen.label_smoothing,
            dice=chosen.dice,
            lovasz=chosen.lovasz,
            region_stride=chosen.region_stride,
        )

    def decode(
        self,
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
    ) -> list[SemanticMap]:
        answers = []
        for one, inside, size in zip(logits, valid, sizes, strict=True):
            is_large = one.shape[0] * size[0] * size[1] > MAX_FULL_LOGITS
            able = possible_classes(one)
            ids = able[resize_logits(one[able], inside, inside if is_large else size, stride).argmax(dim=0)]
            if tuple(ids.shape) != tuple(size):
                ids = F.interpolate(ids[None, None].to(torch.float32), size=tuple(size), mode="nearest-exact")[0, 0]
            answers.append(SemanticMap(ids.to(torch.int64), tuple(classes)))
        return answers

    def metric(self, classes: Sequence[str], **options: Any) -> SegmentationMetric:
        return call_with(SegmentationMetric, options, "it", tuple(classes))

    def strata(self, classes: Sequence[str], **options: Any) -> SegmentationStrata:
        return SegmentationStrata(tuple(classes), **options)


def possible_classes(logits: Tensor) -> Tensor:
    """Give the classes (k,) int64, ascending, that may come first somewhere when the map (K, h, w) is enlarged.

    With many classes most can be told to be beaten everywhere, and need not be enlarged. A pixel of the enlarged map is
    a mean of cells of one 3 x 3 window, and windows of 4 at every second cell hold each of those: where the highest
    score of a class in such a window is below the lowest of another class, no pixel there takes it.
    """
    beaten = _of_windows(logits, torch.maximum) < _of_windows(logits, torch.minimum).amax(dim=0)
    return (~beaten).flatten(1).any(dim=1).nonzero().flatten()  # a score that is not a number beats no class


def _of_windows(x: Tensor, either: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The largest or smallest of each window of 4 x 4 cells at every second cell; the last windows may be cut.

    Pairs of cells and then pairs of pairs: several times faster on CPUs than pooling, with channels last above all.
    """
    for _ in range(2):  # along the rows, then along the columns
        count = x.shape[-2]
        pairs = either(x[..., : count - 1 : 2, :], x[..., 1::2, :])
        x = torch.cat([pairs, x[..., -1:, :]], dim=-2) if count % 2 else pairs
        if x.shape[-2] > 1:
            x = either(x[..., :-1, :], x[..., 1:, :])
        x = x.transpose(-2, -1)
    return x


def align_to_grid(logits: Tensor, target: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Resize logits (B, K, h, w) that cover the target (B, H, W) and pick target pixels so that both lie on one grid.

    Args:
        stride: 1, 2 or 4. The target is never averaged: of each cell the pixel right below its centre is read, which
            for an even stride lies half a pixel off, and the logits are moved there.
    Returns:
        Logits (B, K, ceil(H/stride), ceil(W/stride)) and the target on the same grid.
    """
    height, width = target.shape[-2:]
    factor = round(height / logits.shape[-2]) / stride  # maps cover ceil(H/4) * 4 pixels, so the ratio is 2 or 4
    if factor != 1:
        logits = F.interpolate(logits, scale_factor=factor, mode="bilinear", align_corners=False)
    if stride > 1:
        logits = _move(_move(logits, 0.5 / stride, -2), 0.5 / stride, -1)
    picked = target[:, stride // 2 :: stride, stride // 2 :: stride]
    rows, columns = min(logits.shape[-2], picked.shape[1]), min(logits.shape[-1], picked.shape[2])
    return logits[..., :rows, :columns], picked[:, :rows, :columns]


def _move(x: Tensor, share: float, dim: int) -> Tensor:
    """Read a map `share` of a cell further along an axis, by linear interpolation; the last cell has no next one."""
    following = torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), x.narrow(dim, x.shape[dim] - 1, 1)], dim)
    return torch.lerp(x, following, share)


TASKS.register("segmentation")(SegmentationTask())
