"""Cross entropy for image labels: hard or soft targets, label smoothing, class weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["classification_loss"]


def classification_loss(
    logits: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Cross entropy, averaged over the images by the weight of their class.

    With target distribution t (one-hot for a hard label), smoothing e and class weights w:
    sum_b sum_k w_k ((1 - e) t_bk + e / K) (-log p_bk) / sum_b sum_k w_k t_bk. No label is ignored here: data sets have
    more than 255 classes, and an image without a label has no classification target.

    Args:
        logits: Scores (B, K); the softmax runs in float32.
        target: Class ids (B,) int64 in 0..K-1, or distributions (B, K) that sum to 1 (mixup, cutmix, a teacher).
        label_smoothing: Share of the target spread evenly over the classes, 0 <= e < 1.
        class_weights: Weights (K,) >= 0 as `class_weight_vector` gives them; None is 1 for all.
    Returns:
        A scalar; 0 with a gradient when the batch is empty or every image in it weighs 0.
    Raises:
        ValueError: Shapes that do not fit, a label outside 0..K-1, or a smoothing outside [0, 1).
    Source: label smoothing as in Szegedy et al. 2016, arXiv:1512.00567, section 7. For hard labels equal to
        torch.nn.functional.cross_entropy; with soft targets torch divides by B where this divides by the weight, so
        that here a one-hot row and its hard label give the same loss.
    """
    if logits.ndim != 2:
        raise ValueError(f"logits have shape {tuple(logits.shape)}; classification needs (B, K).")
    classes = logits.shape[1]
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing is {label_smoothing}; it must be in [0, 1).")
    if class_weights is not None and class_weights.shape != (classes,):
        raise ValueError(f"class_weights have shape {tuple(class_weights.shape)} but there are {classes} classes.")
    soft = _as_distribution(target, logits.shape[0], classes)
    log_p = F.log_softmax(logits.float(), dim=1)
    weights = torch.ones(classes, device=logits.device) if class_weights is None else class_weights.to(log_p)
    smoothed = (1.0 - label_smoothing) * soft + label_smoothing / classes
    weight = (soft * weights).sum(1)  # (B,), no matrix product: autocast would round it
    row = -(smoothed * weights * log_p).sum(1)
    row = torch.where(weight > 0, row, torch.zeros_like(row))  # smoothing must not revive an image of weight 0
    return row.sum() / weight.sum().clamp_min(torch.finfo(torch.float32).tiny)


def _as_distribution(target: Tensor, rows: int, classes: int) -> Tensor:
    if target.is_floating_point():
        if target.shape != (rows, classes):
            raise ValueError(f"soft target has shape {tuple(target.shape)}; logits need ({rows}, {classes}).")
        return target.float()
    if target.shape != (rows,):
        raise ValueError(f"target has shape {tuple(target.shape)}; logits of {rows} images need ({rows},).")
    if rows and (int(target.min()) < 0 or int(target.max()) >= classes):
        raise ValueError(
            f"labels span {int(target.min())}..{int(target.max())} but the head has {classes} classes; "
            f"labels must be in 0..{classes - 1}."
        )
    return F.one_hot(target.long(), classes).float()
