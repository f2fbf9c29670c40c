"""Scores that tell unlike images: each is a module that is fitted on in-distribution images and saved with a model."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..registry import Registry

__all__ = [
    "OOD_SCORES",
    "KNN",
    "MSP",
    "Energy",
    "Mahalanobis",
    "MaxLogit",
    "MaxLogitMahalanobis",
    "OODScore",
    "build_score",
]

OOD_SCORES: Registry[Any] = Registry(
    "OOD score", "An OODScore: forward(logits, features) is higher for images that are less like the fitted ones."
)


class OODScore(nn.Module):
    """Base of all scores.

    `fit` takes what the model gave for in-distribution training images and fills the buffers, whose sizes follow from
    the constructor, so that a state dict is enough to save and load a fitted score.

    Args:
        classes: K, the width of the logits.
        dim: D, the width of the features.
    """

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        if classes < 2 or dim < 1:
            raise ConfigError(f"an OOD score got {classes} classes and {dim} features; it needs 2 and 1 at least.")
        self.classes, self.dim = classes, dim
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, logits: Tensor, features: Tensor, labels: Tensor) -> OODScore:
        """Learn from in-distribution images.

        Args:
            logits: (N, K).
            features: (N, D).
            labels: Classes (N,) int64, 0..K-1.
        Raises:
            DataError: Shapes that do not fit, numbers that are not finite, or too few images.
        """
        _check(logits, features, self.classes, self.dim)
        if labels.shape != logits.shape[:1] or (
            len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes
        ):
            raise DataError(
                f"labels of shape {tuple(labels.shape)} came with {len(logits)} images of {self.classes} classes; give "
                "one label in 0..K-1 for each image."
            )
        self._fit(logits.double(), features.double(), labels)
        self.fitted.fill_(True)  # type: ignore[operator]
        return self

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Give (B,) float32 from logits (B, K) and features (B, D); higher is less like the fitted images."""
        if not torch.compiler.is_exporting():  # a graph holds no checks; visgen.export makes them before it records
            _check(logits, features, self.classes, self.dim)
            if not bool(self.fitted):
                raise ConfigError(
                    f"{type(self).__name__} has no statistics yet; call fit on in-distribution images first."
                )
        # Half precision would lose the small differences between large distances.
        with torch.autocast(logits.device.type, enabled=False):
            return self._score(logits.float(), features.float())

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor) -> None:
        """Fill the buffers; a score without statistics has nothing to do."""

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define _score.")


@OOD_SCORES.register("msp")
class MSP(OODScore):
    """Minus the largest softmax probability (Hendrycks and Gimpel 2017, arXiv:1610.02136)."""

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return -logits.softmax(dim=1).amax(1)


@OOD_SCORES.register("max_logit")
class MaxLogit(OODScore):
    """Minus the largest logit (Hendrycks et al. 2022, arXiv:1911.11132)."""

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return -logits.amax(1)


@OOD_SCORES.register("energy")
class Energy(OODScore):
    """-T logsumexp(logits / T) (Liu et al. 2020, arXiv:2010.03759)."""

    def __init__(self, classes: int, dim: int, temperature: float = 1.0) -> None:
        super().__init__(classes, dim)
        if temperature <= 0:
            raise ConfigError(f"temperature of the energy score is {temperature}; it must be above 0.")
        self.temperature = temperature

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return -self.temperature * (logits / self.temperature).logsumexp(dim=1)


@OOD_SCORES.register("knn")
class KNN(OODScore):
    """Distance to the k-th nearest training feature on the unit sphere (Sun et al. 2022, arXiv:2204.06507).

    Args:
        k: Which neighbour.
        bank: Training images kept, evenly spaced over those given; fewer are repeated to fill the bank.
    """

    bank: Tensor

    def __init__(self, classes: int, dim: int, k: int = 10, bank: int = 2000) -> None:
        super().__init__(classes, dim)
        if not 1 <= k <= bank:
            raise ConfigError(f"kNN score has k {k} and a bank of {bank}; use 1 <= k <= bank.")
        self.k = k
        self.register_buffer("bank", torch.zeros(bank, dim))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor) -> None:
        if len(features) < len(self.bank):
            raise DataError(
                f"the kNN score keeps {len(self.bank)} images but {len(features)} were given; give more, or a smaller "
                "bank."
            )
        chosen = torch.arange(len(self.bank), device=features.device) * len(features) // len(self.bank)
        self.bank.copy_(F.normalize(features[chosen], dim=1))

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        similarity = F.normalize(features, dim=1) @ self.bank.float().T
        nearest = similarity.topk(self.k, dim=1).values[:, -1]
        return (2 - 2 * nearest).clamp(min=0).sqrt()  # |a - b| of unit vectors


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
    Source: Lee et al. 2018, arXiv:1807.03888, section 2.1, on the last features; shrinkage: Ledoit and Wolf 2004,
        Journal of Multivariate Analysis 88, 365-411; axes: the maximum-likelihood form of Tipping and Bishop 1999,
        Journal of the Royal Statistical Society B 61, 611-622, section 3.2.
    """

    means: Tensor
    axes: Tensor
    floor: Tensor

    def __init__(self, classes: int, dim: int, normalise: bool = True, rank: int = 64) -> None:
        super().__init__(classes, dim)
        if rank < 1:
            raise ConfigError(f"rank of the Mahalanobis score is {rank}; it must be 1 or more.")
        self.normalise, self.rank = normalise, min(rank, dim)
        self.register_buffer("means", torch.zeros(classes, dim))
        self.register_buffer("axes", torch.zeros(dim, self.rank))
        self.register_buffer("floor", torch.tensor(1.0))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor) -> None:
        counts = torch.bincount(labels, minlength=self.classes)
        if int(counts.min()) == 0:
            missing = (counts == 0).nonzero()[:5, 0].tolist()
            raise DataError(f"the Mahalanobis score needs an image of every class; classes {missing} have none.")
        x = F.normalize(features, dim=1) if self.normalise else features
        sums = x.new_zeros(self.classes, self.dim).index_add(0, labels, x)
        means = sums / counts[:, None]
        widths, axes = torch.linalg.eigh(shrunk_covariance(x - means[labels]))  # rising
        narrow = self.dim - self.rank
        floor = widths[:narrow].mean() if narrow else widths[0]
        # inverse covariance = I / floor - axes axes', the axes scaled so that each gets its own width back
        self.means.copy_(means)
        self.axes.copy_(axes[:, narrow:] * (1 / floor - 1 / widths[narrow:]).clamp(min=0).sqrt())
        self.floor.copy_(floor)

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        x = F.normalize(features, dim=1) if self.normalise else features
        means, axes = self.means.float(), self.axes.float()
        return (_distances(x, means) / self.floor - _distances(x @ axes, means @ axes)).amin(1)


def _distances(x: Tensor, means: Tensor) -> Tensor:
    """Squared distances (B, K) of rows, without a (B, K, D) array."""
    return x.square().sum(1, keepdim=True) - 2 * x @ means.T + means.square().sum(1)


@OOD_SCORES.register("max_logit_mahalanobis")
class MaxLogitMahalanobis(OODScore):
    """The sum of both scores, each brought to mean 0 and deviation 1 on the images it was fitted on."""

    moments: Tensor

    def __init__(self, classes: int, dim: int, normalise: bool = True, rank: int = 64) -> None:
        super().__init__(classes, dim)
        self.max_logit = MaxLogit(classes, dim)
        self.mahalanobis = Mahalanobis(classes, dim, normalise, rank)
        self.register_buffer("moments", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor) -> None:
        parts = [part.fit(logits, features, labels)(logits, features) for part in (self.max_logit, self.mahalanobis)]
        self.moments.copy_(torch.stack([torch.stack([p.mean(), p.std().clamp(min=1e-12)]) for p in parts]))

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        parts = (self.max_logit(logits, features), self.mahalanobis(logits, features))
        return sum((p - m[0]) / m[1] for p, m in zip(parts, self.moments.float(), strict=True))  # type: ignore[return-value]


def build_score(name: str, classes: int, dim: int, **options: Any) -> OODScore:
    """Build the score `name` without statistics; an unknown name or option is refused by name."""
    try:
        return OOD_SCORES.get(name)(classes, dim, **options)
    except TypeError as error:
        raise ConfigError(f"OOD score '{name}' does not take the options {sorted(options)}: {error}.") from error


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


def _check(logits: Tensor, features: Tensor, classes: int, dim: int) -> None:
    if logits.ndim != 2 or logits.shape[1] != classes or features.shape != (len(logits), dim):
        raise DataError(
            f"an OOD score of {classes} classes and {dim} features got logits {tuple(logits.shape)} and features "
            f"{tuple(features.shape)}; they must be (B, {classes}) and (B, {dim})."
        )
    if not bool(logits.isfinite().all() and features.isfinite().all()):
        raise DataError("logits or features of an OOD score hold NaN or infinity; look at the images behind them.")
