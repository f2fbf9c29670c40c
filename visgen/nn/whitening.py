"""Whitening learned from pairs: directions in which pictures of one place differ count less."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["learn_lw_whitening"]


def learn_lw_whitening(
    queries: Tensor, positives: Tensor, dim: int | None = None, ridge: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Give (mean (D,), projection (dim, D)); a descriptor x becomes projection @ (x - mean), then length 1.

    The first factor makes the differences of pairs white, the second turns the axes to those in which all descriptors
    spread most and keeps the first ones.

    Args:
        queries, positives: (N, D) descriptors; row i of both shows the same place.
        dim: Dimensions to keep, 1..D; None keeps all.
        ridge: Share of the mean variance of the differences that is added to each of their variances, which fewer
            pairs than dimensions need.
    Raises:
        DataError: Shapes that do not fit, no two pairs, pairs that do not differ, or `dim` out of range.
    Source: Radenovic et al. 2018, arXiv:1711.02512, section 3.3 (after Mikolajczyk and Matas 2007); the ridge is ours.
    """
    if queries.ndim != 2 or queries.shape != positives.shape or len(queries) < 2:
        raise DataError(
            f"whitening got queries {tuple(queries.shape)} and positives {tuple(positives.shape)}; both must be "
            "(N, D) with N >= 2 pairs."
        )
    width = queries.shape[1]
    kept = width if dim is None else dim
    if not 1 <= kept <= width:
        raise DataError(f"whitening is to keep {dim} of {width} dimensions; use 1..{width}.")
    a, b = queries.double(), positives.double()
    mean = a.mean(0)
    apart = a - b
    inside = apart.T @ apart / len(apart)
    scale = float(inside.diagonal().mean())
    if not scale > 0:
        raise DataError(f"all {len(apart)} pairs of whitening are equal; give pairs of different pictures.")
    factor = torch.linalg.cholesky(inside + ridge * scale * torch.eye(width, dtype=torch.float64, device=a.device))
    centred = torch.cat([a, b]) - mean
    white = torch.linalg.solve_triangular(factor, centred.T, upper=False)  # (D, 2N)
    _, directions = torch.linalg.eigh(white @ white.T)  # ascending
    turned = directions.flip(1).T[:kept]
    projection = torch.linalg.solve_triangular(factor.T, turned.T, upper=True).T  # turned @ inverse(factor)
    return mean.to(queries.dtype), projection.to(queries.dtype)
