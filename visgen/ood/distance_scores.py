"""Scores that measure how far an image vector lies from those of the training images."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, DataError
from ..nn.readout import Readout
from .score import OOD_SCORES, OODScore

__all__ = ["KNN", "Mahalanobis", "RelativeMahalanobis", "shrunk_covariance"]


@OOD_SCORES.register("knn")
class KNN(OODScore):
    """Distance to the k-th nearest training feature on the unit sphere (Sun et al. 2022, arXiv:2204.06507).

    Args:
        k: Which neighbour.
        bank: Training images kept, evenly spaced over those given, of which there must be as many or more.
    """

    bank: Tensor

    def __init__(self, classes: int, dim: int, k: int = 10, bank: int = 2000) -> None:
        super().__init__(classes, dim)
        if not 1 <= k <= bank:
            raise ConfigError(f"kNN score has k {k} and a bank of {bank}; use 1 <= k <= bank.")
        self.k = k
        self.register_buffer("bank", torch.zeros(bank, dim))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        if len(features) < len(self.bank):
            raise DataError(
                f"the kNN score keeps {len(self.bank)} images but {len(features)} were given; give more, or a smaller "
                f"bank, such as the score's option bank={len(features)}."
            )
        chosen = torch.arange(len(self.bank), device=features.device) * len(features) // len(self.bank)
        self.bank.copy_(F.normalize(features[chosen], dim=1))

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        bank = self.bank.float()
        origin = bank.mean(0)  # near it no digits are lost where all features share an offset
        bank = bank - origin
        squared = _squared(F.normalize(features, dim=1) - origin, bank, bank.square().sum(1))
        return squared.topk(self.k, dim=1, largest=False).values[:, -1].clamp(min=0).sqrt()


@OOD_SCORES.register("mahalanobis")
class Mahalanobis(OODScore):
    """Squared Mahalanobis distance to the nearest class mean under one shared covariance.

    The covariance is shrunk towards a multiple of the identity as Ledoit and Wolf do, so that it has an inverse also
    with fewer images than features. Of its axes only the `rank` widest are kept; along all others it is taken as
    equally wide. What is saved then grows with D instead of D squared: for 1472 features a full inverse takes 8.3 MiB
    and 64 axes take 0.4 MiB, beside the K class means.

    Args:
        normalise: Put the features on the unit sphere first.
        rank: Axes kept; D or more keeps the covariance whole.
        half: Keep means and axes in float16, half as many bytes; scores are computed in float32 all the same.
    Source: Lee et al. 2018, arXiv:1807.03888, section 2.1, on the last features; shrinkage: Ledoit and Wolf 2004,
        Journal of Multivariate Analysis 88, 365-411; axes: the maximum-likelihood form of Tipping and Bishop 1999,
        Journal of the Royal Statistical Society B 61, 611-622, section 3.2.
    """

    means: Tensor
    axes: Tensor
    floor: Tensor

    def __init__(self, classes: int, dim: int, normalise: bool = True, rank: int = 64, half: bool = False) -> None:
        super().__init__(classes, dim)
        if rank < 1:
            raise ConfigError(f"rank of the Mahalanobis score is {rank}; it must be 1 or more.")
        self.normalise, self.rank = normalise, min(rank, dim)
        dtype = torch.float16 if half else torch.float32
        self.register_buffer("means", torch.zeros(classes, dim, dtype=dtype))
        self.register_buffer("axes", torch.zeros(dim, self.rank, dtype=dtype))
        self.register_buffer("floor", torch.tensor(1.0))
        self._kept: tuple[Any, _Wide] | None = None  # what the buffers were, and what was made of them

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        counts = torch.bincount(labels, minlength=self.classes)
        if int(counts.min()) == 0:
            missing = (counts == 0).nonzero()[:5, 0].tolist()
            raise DataError(f"the Mahalanobis score needs an image of every class; classes {missing} have none.")
        x = self._prepared(features)
        means = x.new_zeros(self.classes, self.dim).index_add(0, labels, x) / counts[:, None]
        axes, floor = _inverse_axes(x - means[labels], self.rank)
        self.means.copy_(means)
        self.axes.copy_(axes)
        self.floor.copy_(floor)

    def _prepared(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=1) if self.normalise else features

    def _class_distances(self, logits: Tensor, features: Tensor) -> Tensor:
        x = self._prepared(features)
        return _distances(x, self._wide(), self.floor)

    def _wide(self) -> _Wide:
        """What distances are measured with, remembered: for one picture it is nearly all work."""
        sources = (self.means, self.axes)
        if torch.compiler.is_compiling() or torch.is_inference_mode_enabled() or any(t.is_inference() for t in sources):
            return _wide(self.means, self.axes)  # a graph shall hold no memory; inference tensors have no version
        key = tuple((t.device, t.data_ptr(), t._version) for t in sources)
        if self._kept is None or self._kept[0] != key:
            self._kept = (key, _wide(self.means, self.axes))
        return self._kept[1]

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return self._class_distances(logits, features).amin(1)


@OOD_SCORES.register("relative_mahalanobis")
class RelativeMahalanobis(OODScore):
    """The Mahalanobis distance to the nearest class less the one to all training images together.

    What is unusual for every picture of the data set, and so says nothing about classes, cancels. Both covariances
    are kept as `Mahalanobis` keeps its own.

    Args:
        normalise, rank, half: As in `Mahalanobis`.
    Source: Ren et al. 2021, arXiv:2106.09022, section 3.
    """

    centre: Tensor
    axes: Tensor
    floor: Tensor

    def __init__(self, classes: int, dim: int, normalise: bool = True, rank: int = 64, half: bool = False) -> None:
        super().__init__(classes, dim)
        self.within = Mahalanobis(classes, dim, normalise, rank, half)
        self.register_buffer("centre", torch.zeros(1, dim))
        self.register_buffer("axes", torch.zeros_like(self.within.axes))
        self.register_buffer("floor", torch.tensor(1.0))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        self.within.fit(logits, features, labels)
        x = self.within._prepared(features)
        centre = x.mean(0, keepdim=True)
        axes, floor = _inverse_axes(x - centre, self.within.rank)
        self.centre.copy_(centre)
        self.axes.copy_(axes)
        self.floor.copy_(floor)

    def _class_distances(self, logits: Tensor, features: Tensor) -> Tensor:
        whole = _distances(self.within._prepared(features), _wide(self.centre, self.axes), self.floor)
        return self.within._class_distances(logits, features) - whole

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return self._class_distances(logits, features).amin(1)


def _inverse_axes(centred: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Give axes (D, rank) and a floor such that I / floor - axes axes' is the inverse covariance of rows (N, D)."""
    widths, axes = torch.linalg.eigh(shrunk_covariance(centred))  # rising
    narrow = centred.shape[1] - rank
    floor = widths[:narrow].mean() if narrow else widths[0]
    if not float(floor) > 0:
        raise DataError(
            f"the {len(centred)} training images of the score do not differ from their means, so that distances have "
            "no scale; give two or more different images of some classes."
        )
    # the axes are scaled so that each gets its own width back
    return axes[:, narrow:] * (1 / floor - 1 / widths[narrow:]).clamp(min=0).sqrt(), floor


class _Wide(NamedTuple):
    """In float32: the mean of the means (D,), from which all is measured so that an offset that features share does
    not eat the digits; means (K, D), axes (D, rank), the means on the axes (K, rank), and the squared lengths (K,)."""

    origin: Tensor
    means: Tensor
    axes: Tensor
    on_axes: Tensor
    lengths: Tensor
    lengths_on_axes: Tensor


def _wide(means: Tensor, axes: Tensor) -> _Wide:
    means, axes = means.float(), axes.float()
    origin = means.mean(0)
    means = means - origin
    on_axes = means @ axes
    return _Wide(origin, means, axes, on_axes, means.square().sum(1), on_axes.square().sum(1))


def _distances(x: Tensor, wide: _Wide, floor: Tensor) -> Tensor:
    """Squared Mahalanobis distances (B, K) of rows from means."""
    x = x - wide.origin
    across = _squared(x, wide.means, wide.lengths)
    return across / floor - _squared(x @ wide.axes, wide.on_axes, wide.lengths_on_axes)


def _squared(x: Tensor, means: Tensor, lengths: Tensor) -> Tensor:
    """Squared distances (B, K) of rows from means of squared `lengths`, without a (B, K, D) array."""
    return x.square().sum(1, keepdim=True) - 2 * x @ means.T + lengths


def shrunk_covariance(centred: Tensor) -> Tensor:
    """The Ledoit-Wolf estimate (D, D) of the covariance of rows (N, D) of mean 0: (1 - s) S + s (tr S / D) I."""
    count, dim = centred.shape
    sample = centred.T @ centred / count
    scale = sample.trace() / dim
    identity = torch.eye(dim, dtype=sample.dtype, device=sample.device)
    spread = (sample - scale * identity).square().sum()
    squared = centred.square()
    noise = ((squared.T @ squared).sum() / count - sample.square().sum()) / count
    share = torch.where(spread > 0, (noise / spread).clamp(0, 1), torch.ones_like(spread))
    return (1 - share) * sample + share * scale * identity
