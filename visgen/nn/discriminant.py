"""A linear classifier in closed form: class means under one covariance, without any training."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConfigError, DataError

__all__ = ["linear_discriminant"]


def linear_discriminant(vectors: Tensor, labels: Tensor, classes: int, shrink: float = 0.4) -> tuple[Tensor, Tensor]:
    """Give (weight (K, D), bias (K,)) of Fisher's linear discriminant; logits are vectors @ weight.T + bias.

    Classes are Gaussian with one covariance S and equally likely, so the logit of class k is x' S^-1 m_k less
    m_k' S^-1 m_k / 2. The mean over classes is taken out of both results, which changes no probability.

    Args:
        vectors: (N, D) of labelled images.
        labels: (N,) int64 in 0..classes-1.
        classes: K; each must have a vector.
        shrink: Share s in 0..1 of the mean variance on the diagonal: S becomes (1 - s) S + s (tr S / D) I, which has an
            inverse also with fewer images than dimensions.
    Raises:
        ConfigError: `shrink` outside 0..1.
        DataError: Shapes that do not fit, a class without a vector, or a covariance without an inverse.
    Source: Friedman 1989, Journal of the American Statistical Association 84, 165-175, equations 1 to 3 and 18.
    """
    if not 0 <= shrink <= 1:
        raise ConfigError(f"shrink of the discriminant is {shrink}; it is a share, from 0 to 1.")
    if vectors.ndim != 2 or labels.shape != vectors.shape[:1]:
        raise DataError(
            f"a discriminant got vectors {tuple(vectors.shape)} and labels {tuple(labels.shape)}; they must be (N, D) "
            "and (N,)."
        )
    counts = torch.bincount(labels, minlength=classes)
    if len(counts) > classes or int(counts.min()) == 0:
        missing = (counts == 0).nonzero()[:5, 0].tolist()
        raise DataError(
            f"a discriminant of {classes} classes got labels up to {len(counts) - 1}, and none of classes {missing}; "
            "each class needs a vector."
        )
    x = vectors.double()
    means = x.new_zeros(classes, x.shape[1]).index_add(0, labels, x) / counts[:, None]
    centred = x - means[labels]
    covariance = (1 - shrink) * (centred.T @ centred) / len(x)
    covariance.diagonal().add_(shrink * centred.square().mean())  # the trace over D is the mean square
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        raise DataError(
            f"the covariance of {len(x)} vectors of {x.shape[1]} numbers has no inverse at shrink {shrink}; give more "
            "images, or a larger shrink."
        )
    weight = torch.cholesky_solve(means.T, factor).T
    bias = -(weight * means).sum(1) / 2
    return (weight - weight.mean(0)).to(vectors.dtype), (bias - bias.mean()).to(vectors.dtype)
