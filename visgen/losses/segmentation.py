"""Losses for semantic maps: cross entropy on labelled pixels, soft Dice and Lovasz-softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..structures import IGNORE

__all__ = ["dice_loss", "lovasz_softmax_loss", "segmentation_cross_entropy", "segmentation_loss"]


def segmentation_loss(
    logits: Tensor,
    target: Tensor,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    dice: float = 0.0,
    lovasz: float = 0.0,
    region_stride: int = 1,
) -> Tensor:
    """Cross entropy + dice * Dice + lovasz * Lovasz-softmax, each over the labelled pixels of the batch.

    Args:
        logits: Scores (B, K, H, W).
        target: Class ids (B, H, W) int64 in 0..K-1; 255 is ignored.
        class_weights: Weights (K,) of the cross entropy; the two overlap terms weigh classes evenly by construction.
        label_smoothing: Of the cross entropy, in [0, 1).
        dice: Weight of the Dice term, >= 0.
        lovasz: Weight of the Lovasz-softmax term, >= 0.
        region_stride: The two overlap terms look at every `region_stride`-th row and column, >= 1; Lovasz sorts all
            its pixels once per class, which would otherwise cost more than a small network.
    Returns:
        A scalar; 0 with a gradient when no pixel is labelled.
    Raises:
        ValueError: Shapes that do not fit, a label outside 0..K-1 that is not 255, or a negative weight.
    """
    if dice < 0 or lovasz < 0:
        raise ValueError(f"loss weights are dice {dice} and lovasz {lovasz}; they must be >= 0.")
    if region_stride < 1:
        raise ValueError(f"region_stride is {region_stride}; it must be >= 1.")
    total = segmentation_cross_entropy(logits, target, class_weights=class_weights, label_smoothing=label_smoothing)
    step = slice(region_stride // 2, None, region_stride)
    logits, target = logits[..., step, step], target[..., step, step]
    if dice:
        total = total + dice * dice_loss(logits, target)
    if lovasz:
        total = total + lovasz * lovasz_softmax_loss(logits, target)
    return total


def segmentation_cross_entropy(
    logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Cross entropy averaged over the labelled pixels of the batch, each weighed by its class.

    Args:
        logits: Scores (B, K, H, W); the softmax runs in float32.
        target: Class ids (B, H, W) int64 in 0..K-1; 255 is ignored.
        class_weights: Weights (K,) >= 0; None is 1 for all. The mean divides by the sum of the pixels' weights.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1).
    Returns:
        A scalar; 0 with a gradient when no pixel is labelled or all labelled pixels weigh 0.
    Raises:
        ValueError: Shapes that do not fit, a smoothing outside [0, 1), or a label outside 0..K-1 that is not 255.
    """
    labelled = _check(logits, target)
    classes = logits.shape[1]
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing is {label_smoothing}; it must be in [0, 1).")
    if class_weights is not None and class_weights.shape != (classes,):
        raise ValueError(f"class_weights have shape {tuple(class_weights.shape)} but there are {classes} classes.")
    weights = None
    if class_weights is not None:
        weights = class_weights.to(device=logits.device, dtype=torch.float32)
        # a pixel of weight 0 leaves altogether; label smoothing would otherwise keep a share of it
        target = torch.where(weights[torch.where(labelled, target, 0)] > 0, target, IGNORE)
        labelled = target != IGNORE
    total = F.cross_entropy(
        logits.float(), target, weight=weights, ignore_index=IGNORE, label_smoothing=label_smoothing, reduction="sum"
    )
    mass = labelled.sum().float() if weights is None else weights[target[labelled]].sum()
    return total / mass.clamp_min(torch.finfo(torch.float32).tiny)


def dice_loss(logits: Tensor, target: Tensor, *, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice overlap, averaged over the classes that occur in the batch.

    For class k with probabilities p and indicator y over the labelled pixels of the whole batch:
    1 - (2 sum(p y) + smooth) / (sum(p) + sum(y) + smooth).

    Args:
        logits: Scores (B, K, H, W).
        target: Class ids (B, H, W) int64; 255 is ignored.
        smooth: Pixels added above and below the fraction, > 0; keeps tiny regions from dominating.
    Returns:
        A scalar in [0, 1]; 0 with a gradient when no pixel is labelled.
    Raises:
        ValueError: Shapes or labels that do not fit, or smooth <= 0.
    Source: Milletari et al. 2016, arXiv:1606.04797, with plain instead of squared sums in the denominator.
    """
    if smooth <= 0:
        raise ValueError(f"smooth is {smooth}; it must be > 0.")
    p, y = _labelled_rows(logits, target)
    present, size = torch.unique(y, return_counts=True)
    if len(present) == 0:
        return logits.float().sum() * 0.0
    overlap = torch.zeros(logits.shape[1], device=p.device).index_add(0, y, p.gather(1, y[:, None])[:, 0])[present]
    return (1.0 - (2.0 * overlap + smooth) / (p.sum(0)[present] + size + smooth)).mean()


def lovasz_softmax_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The convex Lovasz extension of 1 - IoU at the softmax errors, averaged over the classes in the batch.

    Args:
        logits: Scores (B, K, H, W).
        target: Class ids (B, H, W) int64; 255 is ignored.
    Returns:
        A scalar in [0, 1]; 0 with a gradient when no pixel is labelled. At one-hot probabilities it equals 1 - the
        mean IoU over the classes of the target.
    Raises:
        ValueError: Shapes or labels that do not fit.
    Source: Berman et al. 2018, arXiv:1705.08790; the whole batch is one set of pixels.
    """
    p, y = _labelled_rows(logits, target)
    present = torch.unique(y)
    if len(present) == 0:
        return logits.float().sum() * 0.0
    losses = []
    for k in present:
        inside = (y == k).float()
        error, order = (inside - p[:, k]).abs().sort(descending=True)
        losses.append((error * _jaccard_steps(inside[order])).sum())  # no product that autocast would round
    return torch.stack(losses).mean()


def _jaccard_steps(inside: Tensor) -> Tensor:
    """Rise of 1 - IoU as each pixel (N,), worst first, turns wrong: the gradient of the Lovasz extension."""
    size = inside.sum()
    left = size - inside.cumsum(0)  # pixels of the class that are still right
    union = size + (1.0 - inside).cumsum(0)
    distance = 1.0 - left / union
    return torch.diff(distance, prepend=distance.new_zeros(1))


def _check(logits: Tensor, target: Tensor) -> Tensor:
    """Check shapes and labels at the door; gives the labelled pixels (B, H, W) bool."""
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and target {tuple(target.shape)}; they must be (B, K, H, W) and "
            "(B, H, W): resize the logits to the target first."
        )
    labelled = target != IGNORE
    ids = target[labelled]
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= logits.shape[1]):
        raise ValueError(
            f"labels span {int(ids.min())}..{int(ids.max())} but the head has {logits.shape[1]} classes; labels must "
            f"be in 0..{logits.shape[1] - 1}, or {IGNORE} to be ignored."
        )
    return labelled


def _labelled_rows(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (N, K) and labels (N,) of the labelled pixels."""
    labelled = _check(logits, target)
    rows = logits.permute(0, 2, 3, 1)[labelled]
    return rows.float().softmax(1), target[labelled]
