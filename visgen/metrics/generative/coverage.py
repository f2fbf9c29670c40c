"""Fidelity apart from diversity: who lies within reach of whose nearest neighbours, and who is a copy."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import DataError
from .distance import _check

__all__ = ["copy_check", "inception_score", "neighbourhood_figures"]


def neighbourhood_figures(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Give precision, recall, density and coverage over balls that reach to the k-th nearest neighbour.

    precision: share of fakes within the ball of some real; recall: share of reals within the ball of some fake;
    density: in how many balls of reals a fake lies, over k; coverage: share of reals whose ball holds a fake. Of a set
    against itself all four are 1 (without ties). They depend on the counts: use the same number on both sides.

    Args:
        real, fake: Features (N, D), (N, D).
        k: Neighbour that sets a ball's radius, the image itself not counted.
    Source: Kynkaanniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797.
    """
    _check(real, fake)
    if len(real) != len(fake) or not 1 <= k < len(real):
        raise DataError(
            f"{len(real)} reals, {len(fake)} fakes and k {k}; use equal numbers, and k of 1 up to one less than that."
        )
    reach_real, reach_fake = _reach(real, k), _reach(fake, k)
    in_real, in_fake, balls, covered = [], [], [], []
    for rows in torch.arange(len(fake)).split(512):
        inside = _distances(fake[rows], real) < reach_real[None]
        in_real.append(inside.any(1))
        balls.append(inside.sum(1))
    for rows in torch.arange(len(real)).split(512):
        distance = _distances(real[rows], fake)
        in_fake.append((distance < reach_fake[None]).any(1))
        covered.append(distance.amin(1) < reach_real[rows])
    return {
        "precision": float(torch.cat(in_real).double().mean()),
        "recall": float(torch.cat(in_fake).double().mean()),
        "density": float(torch.cat(balls).double().mean() / k),
        "coverage": float(torch.cat(covered).double().mean()),
    }


def inception_score(probabilities: Tensor) -> float:
    """exp of the mean divergence of each image's class probabilities (N, K) from their mean: 1 to K.

    Named after the network it was first used with; it means what the given classifier's classes mean.

    Source: Salimans et al. 2016, arXiv:1606.03498, over all images at once.
    """
    if probabilities.ndim != 2 or not torch.allclose(probabilities.sum(1), torch.ones(len(probabilities)), atol=1e-3):
        raise DataError(f"probabilities are {tuple(probabilities.shape)}; give (N, K), each row summing to 1.")
    p = probabilities.double()
    mean = p.mean(0, keepdim=True)
    divergence = torch.xlogy(p, p).sum(1) - torch.xlogy(p, mean).sum(1)
    return float(divergence.mean().exp())


def copy_check(train: Tensor, held_out: Tensor, fake: Tensor) -> dict[str, float]:
    """Are fakes nearer to training images than other real images are?

    Args:
        train: Features (N, D) of what the generator was trained on.
        held_out: Features of other images of the same kind.
        fake: Features of the fakes.
    Returns:
        Median distance to the nearest training image of fakes and of held-out images, their `ratio` (well below 1 for
        a generator that copies), and `near`, the share of fakes nearer than all but 1 % of the held-out images are.
    """
    _check(train, fake)
    _check(train, held_out)
    nearest = {name: _nearest(side, train) for name, side in (("fake", fake), ("held_out", held_out))}
    bound = nearest["held_out"].quantile(0.01)
    medians = {f"median_{name}": float(value.median()) for name, value in nearest.items()}
    ratio = medians["median_fake"] / max(medians["median_held_out"], 1e-12)
    return {**medians, "ratio": ratio, "near": float((nearest["fake"] < bound).double().mean())}


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # In float64, since rounding would drown near neighbours; large sets through the quicker |a|^2 + |b|^2 - 2ab, small
    # ones exactly, so that even ties come out right.
    mode = "donot_use_mm_for_euclid_dist" if b.numel() <= 2**18 else "use_mm_for_euclid_dist"
    return torch.cdist(a.double(), b.double(), compute_mode=mode)


def _reach(x: Tensor, k: int) -> Tensor:
    """Distance (N,) of each row to its k-th nearest other row."""
    parts = [_distances(x[rows], x).topk(k + 1, dim=1, largest=False).values[:, -1] for rows in _rows(x)]
    return torch.cat(parts)


def _nearest(x: Tensor, known: Tensor) -> Tensor:
    return torch.cat([_distances(x[rows], known).amin(1) for rows in _rows(x)])


def _rows(x: Tensor) -> tuple[Tensor, ...]:
    return torch.arange(len(x)).split(512)
