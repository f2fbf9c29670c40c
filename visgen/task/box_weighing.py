"""Scores of boxes, weighed with what a semantic map shows inside and around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..structures import Boxes

__all__ = ["weigh_boxes"]

INSIDE, AROUND = (
    0.5,
    0.4,
)  # powers of the two shares; chosen with the margin on every other photograph of coco_mini's train
MARGIN = 0.2  # of a box's sides: how far its surroundings reach
LEAST = 0.01  # added to both shares, below which a map's word counts for nothing


def weigh_boxes(boxes: Boxes, logits: Tensor, classes: Sequence[str], valid: tuple[int, int], stride: int) -> Boxes:
    """Give the boxes with the odds of each score times ((inside + 0.01)^0.5 / (around + 0.01)^0.4), best first again.

    `inside` is the mean probability of the box's class on the cells of the map that it covers, `around` that in a frame
    of a fifth of its sides, as far as the picture goes. A box that cuts a thing in two has the thing around it too and
    loses, one that holds it and nothing else gains. Where the frame has no cell, what is inside stands for it. Boxes of
    classes that the map does not have keep their scores.

    Args:
        boxes: With scores, in pixels of `boxes.size`.
        logits: (C, h, w) of the map, of the picture and its padding.
        classes: The C names of the map.
        valid: (H, W) of the picture inside the batch that the map covers.
        stride: Pixels of the batch per cell.
    """
    place = {name: i for i, name in enumerate(classes)}
    column = torch.tensor([place.get(name, -1) for name in boxes.classes], device=logits.device)[boxes.labels]
    known = (column >= 0).nonzero()[:, 0]
    if boxes.scores is None or not len(known):
        return boxes
    rows, columns = -(-valid[0] // stride), -(-valid[1] // stride)
    shown, which = column[known].unique(return_inverse=True)
    share = logits[:, :rows, :columns].to(torch.float32).softmax(0)[shown]
    sums = torch.nn.functional.pad(share.cumsum(1).cumsum(2), (1, 0, 1, 0))
    cell = logits.new_tensor([valid[1] / boxes.size[1], valid[0] / boxes.size[0]], dtype=torch.float32) / stride
    inner = boxes.xyxy[known] * cell.repeat(2)
    grown = (inner[:, 2:] - inner[:, :2]).repeat(1, 2) * inner.new_tensor([-MARGIN, -MARGIN, MARGIN, MARGIN])
    low, high = _cells(inner, share)
    lower, higher = _cells(inner + grown, share)
    held, area = _sum(sums, which, low, high)
    wider, wide = _sum(sums, which, torch.minimum(low, lower), torch.maximum(high, higher))
    inside = (held / area).clamp(min=0)
    around = torch.where(wide > area, (wider - held).clamp(min=0) / (wide - area).clamp(min=1), inside)
    odds = torch.logit(boxes.scores[known], eps=1e-6)
    scores = boxes.scores.clone()
    scores[known] = (odds + INSIDE * (inside + LEAST).log() - AROUND * (around + LEAST).log()).sigmoid()
    order = scores.argsort(descending=True, stable=True)
    return replace(boxes.select(order), scores=scores[order])


def _cells(corners: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """First column and row (N, 2) of boxes (N, 4) in cells, and those behind the last, each to the nearest cell and at
    least one cell wide, on maps (K, h, w)."""
    ends = torch.tensor([maps.shape[2], maps.shape[1]], device=maps.device)
    low = torch.minimum(corners[:, :2].round().long().clamp(min=0), ends - 1)
    return low, torch.maximum(torch.minimum(corners[:, 2:].round().long(), ends), low + 1)


def _sum(sums: Tensor, which: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of a map over the cells of boxes, and their number.

    Args:
        sums: (K, h + 1, w + 1), of each map the sum of what lies above and left of a corner.
        which: (N,) map of each box.
        low, high: As `_cells` gives them.
    """
    (x0, y0), (x1, y1) = low.unbind(1), high.unbind(1)
    total = sums[which, y1, x1] - sums[which, y0, x1] - sums[which, y1, x0] + sums[which, y0, x0]
    return total, ((x1 - x0) * (y1 - y0)).to(total.dtype)
