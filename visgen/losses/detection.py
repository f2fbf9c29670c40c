"""Loss of a dense detector: task-aligned assignment of points to boxes, quality focal loss and generalised IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

from ..structures import Boxes

__all__ = ["Assignment", "assign_points", "decode_rows", "detection_loss"]


@dataclass(frozen=True)
class Assignment:
    """Which true box each of N points answers for.

    Attributes:
        box: (N,) int64 index of the box, -1 for background.
        quality: (N,) in [0, 1], the score that the point shall give the class of its box; 0 for background.
    """

    box: Tensor
    quality: Tensor


def decode_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Split rows (..., 7 + K) of `DetectionHead` into corner boxes (..., 4) in pixels and class logits (..., K)."""
    x, y, left, top, right, bottom = (rows[..., i] for i in (0, 1, 3, 4, 5, 6))
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=-1), rows[..., 7:]


@torch.no_grad()
def assign_points(
    points: Tensor,
    boxes: Tensor,
    probabilities: Tensor,
    labels: Tensor,
    truth: Tensor,
    *,
    top_k: int = 9,
    alpha: float = 1.0,
    beta: float = 6.0,
) -> Assignment:
    """Assign points to true boxes by how well class and place agree.

    The alignment of a point with a true box is p^alpha u^beta, with p its probability of the box's class and u the IoU
    of its box. Each true box takes the `top_k` best points whose centre lies in it, or the nearest point when it holds
    none; a point that several want goes to the box of the largest IoU. The quality of a point is its alignment, scaled
    so that the best point of a box has the largest IoU of that box's points.

    Args:
        points: Centres (N, 2) in pixels.
        boxes: Predicted corners (N, 4).
        probabilities: (N, K).
        labels: Classes (M,) of the true boxes.
        truth: True corners (M, 4).
    Source: Feng et al. 2021, arXiv:2108.07755, section 3.2 (alpha 1, beta 6); taking the nearest point for a box
        without one is ours, since small boxes may lie between points.
    """
    count = len(points)
    if len(truth) == 0:
        return Assignment(torch.full((count,), -1, dtype=torch.int64, device=points.device), points.new_zeros(count))
    x, y = points[:, 0:1], points[:, 1:2]
    inside = torch.stack([x - truth[:, 0], y - truth[:, 1], truth[:, 2] - x, truth[:, 3] - y]).amin(0) > 0  # (N, M)
    centre = (truth[:, :2] + truth[:, 2:]) / 2
    distance = torch.cdist(points, centre)
    nearest = distance == distance.amin(0)
    inside = inside | (nearest & ~inside.any(0))
    iou = box_iou(boxes, truth)
    alignment = (probabilities[:, labels].pow(alpha) * iou.pow(beta)).masked_fill(~inside, -1.0)
    # The IoU of an untrained head may be 0 for every point of a box: then the nearest points answer for it.
    ranked = torch.where(alignment > 0, alignment, -1e-6 * distance - 1e-3).masked_fill(~inside, -torch.inf)
    chosen = torch.zeros_like(inside)
    best = ranked.topk(min(top_k, count), dim=0)
    chosen.scatter_(0, best.indices, best.values > -torch.inf)
    claim = torch.where(chosen, iou, iou.new_tensor(-1.0))
    largest, box = claim.max(dim=1)
    box = torch.where(largest >= 0, box, -1)
    mine = chosen & (box[:, None] == torch.arange(len(truth), device=box.device))
    alignment = torch.where(mine, alignment.clamp(min=0), 0)
    top = torch.where(mine, iou, 0).amax(0)
    quality = (alignment / alignment.amax(0).clamp(min=1e-12) * top).amax(1)
    return Assignment(box, quality)


def detection_loss(
    rows: Tensor,
    targets: Sequence[Boxes],
    *,
    gamma: float = 2.0,
    box_weight: float = 2.0,
    class_weights: Tensor | None = None,
    top_k: int = 9,
) -> Tensor:
    """Quality focal loss of the classes plus `box_weight` times the generalised IoU loss of the boxes.

    Both are sums over points divided by the summed quality of the assigned points of the batch. Points inside a crowd
    region say nothing about its class, and classes that a target does not box completely get no background from it.

    Args:
        rows: (B, N, 7 + K) as `DetectionHead` gives them.
        targets: True boxes of each image, in pixels of the batch.
        gamma: Exponent of |target - probability| in the focal factor.
        box_weight: Weight of the box term.
        class_weights: (K,) >= 0 for the class term, or None.
        top_k: See `assign_points`.
    Returns:
        A scalar >= 0, with a gradient also when no image has a box.
    Raises:
        ValueError: Numbers of images or classes that differ.
    Source: Feng et al. 2021, arXiv:2108.07755, equations 3 to 6; Rezatofighi et al. 2019, arXiv:1902.09630.
    """
    if len(rows) != len(targets):
        raise ValueError(f"{len(rows)} images of logits came with {len(targets)} targets; give one for each image.")
    boxes, logits = decode_rows(rows)
    class_terms, box_terms, total = [], [], rows.new_zeros(())
    for i, target in enumerate(targets):
        if len(target.classes) != logits.shape[2]:
            raise ValueError(
                f"the target of image {i} has {len(target.classes)} classes and the head {logits.shape[2]}; train on "
                "the head's own label set."
            )
        crowd = target.is_crowd if target.is_crowd is not None else torch.zeros(len(target), dtype=torch.bool)
        truth, labels = target.xyxy.to(rows.device), target.labels.to(rows.device)
        solid = ~crowd.to(rows.device) & (truth[:, 2:] > truth[:, :2]).all(1)
        points = rows[i, :, :2].detach()
        wanted = torch.zeros_like(logits[i])
        weight = _counted(target, points, logits.shape[2])
        found = assign_points(
            points, boxes[i].detach(), logits[i].detach().sigmoid(), labels[solid], truth[solid], top_k=top_k
        )
        positive = found.box >= 0
        if bool(positive.any()):
            own = found.box[positive]
            wanted[positive, labels[solid][own]] = found.quality[positive]
            weight[positive, labels[solid][own]] = 1.0
            apart = generalized_box_iou_loss(boxes[i][positive], truth[solid][own])
            box_terms.append((apart * found.quality[positive]).sum())
            total = total + found.quality.sum()
        focus = (wanted - logits[i].detach().sigmoid()).abs().pow(gamma)
        cross = F.binary_cross_entropy_with_logits(logits[i], wanted, reduction="none")
        if class_weights is not None:
            weight = weight * class_weights
        class_terms.append((focus * cross * weight).sum())
    classes = torch.stack(class_terms).sum()
    places = torch.stack(box_terms).sum() if box_terms else boxes.sum() * 0.0
    return (classes + box_weight * places) / total.clamp(min=1.0)


def _counted(target: Boxes, points: Tensor, classes: int) -> Tensor:
    """Give (N, K): 1 where a point may count as background of a class, else 0."""
    counted = torch.ones(len(points), classes, device=points.device)
    if target.complete is not None:
        partial = [k for k, name in enumerate(target.classes) if name not in target.complete]
        counted[:, partial] = 0
    if target.is_crowd is not None:
        for box, label in zip(target.xyxy[target.is_crowd], target.labels[target.is_crowd], strict=True):
            low, high = box[:2].to(points.device), box[2:].to(points.device)
            counted[((points > low) & (points < high)).all(1), label] = 0
    return counted
