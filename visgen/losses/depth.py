"""Losses for metric depth on the pixels that were measured: log scale-invariant, log L1, berHu, gradient matching.

Every loss takes metres, counts only pixels whose target is finite and above 0, averages within each image, then over
the images that have such pixels, and gives 0 with a gradient (never NaN) when there is none.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "MIN_METRES",
    "berhu_loss",
    "depth_loss",
    "gradient_matching_loss",
    "log_l1_loss",
    "scale_invariant_log_loss",
]

MIN_METRES = 1e-3  # predictions are raised to this before the logarithm; it is also the step of a 16-bit depth PNG


def depth_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    silog: float = 1.0,
    log_l1: float = 0.0,
    berhu: float = 0.0,
    gradient: float = 0.0,
    lam: float = 0.5,
) -> Tensor:
    """Weighted sum of the four depth losses below; a weight of 0 leaves its term out.

    Args:
        prediction: Metres (B, H, W), > 0.
        target: Metres (B, H, W); 0, negative or not finite is missing.
        silog: Weight of `scale_invariant_log_loss`.
        log_l1: Weight of `log_l1_loss`.
        berhu: Weight of `berhu_loss`.
        gradient: Weight of `gradient_matching_loss`.
        lam: The lambda of `scale_invariant_log_loss`.
    Returns:
        A scalar.
    Raises:
        ValueError: Shapes that differ, a negative weight, or no weight above 0.
    """
    weights = {"silog": silog, "log_l1": log_l1, "berhu": berhu, "gradient": gradient}
    if min(weights.values()) < 0 or max(weights.values()) == 0:
        raise ValueError(f"depth loss weights are {weights}; each must be >= 0 and one above 0.")
    terms = []
    if silog:
        terms.append(silog * scale_invariant_log_loss(prediction, target, lam=lam))
    if log_l1:
        terms.append(log_l1 * log_l1_loss(prediction, target))
    if berhu:
        terms.append(berhu * berhu_loss(prediction, target))
    if gradient:
        terms.append(gradient * gradient_matching_loss(prediction, target))
    return torch.stack(terms).sum()


def scale_invariant_log_loss(prediction: Tensor, target: Tensor, *, lam: float = 0.5, root: bool = False) -> Tensor:
    """mean(d^2) - lam mean(d)^2 within each image, d = log prediction - log target.

    Args:
        prediction: Metres (B, H, W), > 0.
        target: Metres (B, H, W); 0 is missing.
        lam: 0 is the plain squared log error, 1 ignores the scale of an image altogether; in [0, 1].
        root: Take the square root within each image, which keeps the gradient alive near the optimum.
    Returns:
        A scalar >= 0.
    Raises:
        ValueError: Shapes that differ, or lam outside [0, 1].
    Source: Eigen et al. 2014, arXiv:1406.2283, section 3.3 (lambda 0.5 there and here).
    """
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f"lam is {lam}; it must be in [0, 1].")
    d, valid = _log_difference(prediction, target)
    n = valid.sum((1, 2)).clamp_min(1)
    mean = d.sum((1, 2)) / n
    # mean(d^2) - lam mean(d)^2 written as a sum of squares, which cannot fall below 0 by rounding
    spread = (torch.where(valid, d - mean[:, None, None], torch.zeros_like(d)) ** 2).sum((1, 2)) / n
    value = spread + (1.0 - lam) * mean**2
    if root:
        value = (value + 1e-8).sqrt() - 1e-4  # 1e-8: the slope of sqrt at 0 is infinite; the result starts at 0
    return _mean_over_images(value, valid)


def log_l1_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """mean |log prediction - log target| within each image: a relative error that outliers do not rule.

    Args:
        prediction: Metres (B, H, W), > 0.
        target: Metres (B, H, W); 0 is missing.
    Raises:
        ValueError: Shapes that differ.
    """
    d, valid = _log_difference(prediction, target)
    return _mean_over_images(d.abs().sum((1, 2)) / valid.sum((1, 2)).clamp_min(1), valid)


def berhu_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Reverse Huber in metres: |d| up to c, (d^2 + c^2) / (2 c) above, d = prediction - target.

    Args:
        prediction: Metres (B, H, W).
        target: Metres (B, H, W); 0 is missing.
    Returns:
        A scalar in metres. c is a fifth of the largest error in the batch, taken as a constant in the gradient.
    Raises:
        ValueError: Shapes that differ.
    Source: Laina et al. 2016, arXiv:1606.00373; there c may pass gradients, here not.
    """
    valid = _valid(prediction, target)
    zero = torch.zeros((), device=prediction.device)
    size = torch.where(valid, prediction.float() - target.float(), zero).abs()
    c = 0.2 * size.detach().max() if size.numel() else zero
    c = c.clamp_min(torch.finfo(torch.float32).eps)
    value = torch.where(size <= c, size, (size**2 + c**2) / (2 * c))
    return _mean_over_images(value.sum((1, 2)) / valid.sum((1, 2)).clamp_min(1), valid)


def gradient_matching_loss(prediction: Tensor, target: Tensor, *, scales: int = 4) -> Tensor:
    """Mean |step of d| between neighbours, over `scales` subsamplings by 2: depth edges where the target has them.

    d = log prediction - log target. At scale s every 2^s-th pixel is kept; a pair of neighbours (right or below) counts
    when both are valid.

    Args:
        prediction: Metres (B, H, W), > 0.
        target: Metres (B, H, W); 0 is missing.
        scales: How many, >= 1.
    Returns:
        A scalar: mean over the pairs of a scale, then over the scales that have pairs, then over images that have any.
    Raises:
        ValueError: Shapes that differ, or scales < 1.
    Source: Li and Snavely 2018 (MegaDepth), arXiv:1804.00607; Ranftl et al. 2020 (MiDaS), arXiv:1907.01341.
        Both divide by the number of valid pixels and sum the scales; a mean over pairs keeps
        sparse maps (lidar) on the same footing as dense ones.
    """
    if scales < 1:
        raise ValueError(f"scales is {scales}; use 1 or more.")
    d, valid = _log_difference(prediction, target)
    total = torch.zeros(d.shape[0], device=d.device)
    used = torch.zeros_like(total)
    for scale in range(scales):
        step = 2**scale
        part, mask = d[:, ::step, ::step], valid[:, ::step, ::step]
        right = mask[:, :, 1:] & mask[:, :, :-1]
        below = mask[:, 1:] & mask[:, :-1]
        size = ((part[:, :, 1:] - part[:, :, :-1]).abs() * right).sum((1, 2))
        size = size + ((part[:, 1:] - part[:, :-1]).abs() * below).sum((1, 2))
        pairs = right.sum((1, 2)) + below.sum((1, 2))
        total = total + size / pairs.clamp_min(1)
        used = used + (pairs > 0)
    return (total / used.clamp_min(1)).sum() / (used > 0).sum().clamp_min(1)


def _valid(prediction: Tensor, target: Tensor) -> Tensor:
    if prediction.ndim != 3 or prediction.shape != target.shape:
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)} and target {tuple(target.shape)}; both must be (B, H, W): "
            "resize the prediction to the target first."
        )
    return torch.isfinite(target) & (target > 0)


def _log_difference(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """log prediction - log target (B, H, W), 0 where the target is missing, and the valid pixels."""
    valid = _valid(prediction, target)
    one = torch.ones((), device=prediction.device)
    # missing pixels become 1 before the logarithm, not after: a mask afterwards would turn inf * 0 into NaN gradients
    p = torch.where(valid, prediction.float(), one).clamp_min(MIN_METRES)
    t = torch.where(valid, target.float(), one)
    return p.log() - t.log(), valid


def _mean_over_images(value: Tensor, valid: Tensor) -> Tensor:
    """Mean of `value` (B,) over the images with a valid pixel; the others hold 0."""
    usable = valid.flatten(1).any(1)
    return torch.where(usable, value, torch.zeros_like(value)).sum() / usable.sum().clamp_min(1)
