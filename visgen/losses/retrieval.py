"""Metric learning: the contrastive loss of tuples, and which anchors, positives and negatives make them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError, DataError

__all__ = ["ClusterHardNegativeMiner", "DiverseAnchorSampler", "contrastive_tuple_loss"]


def contrastive_tuple_loss(
    anchors: Tensor, positives: Tensor, negatives: Tensor, margin: float = 0.75, eps: float = 1e-6
) -> Tensor:
    """Give the loss of each tuple (T,): D^2 / 2 of the positive plus the sum of max(0, margin - D)^2 / 2 of negatives.

    Args:
        anchors: (T, D) descriptors of length 1.
        positives: (T, D), of the same place as the anchors.
        negatives: (T, K, D), of other places.
        margin: Distance beyond which a negative costs nothing.
        eps: Added to each coordinate of a difference, which keeps the gradient finite where two descriptors are equal.
    Raises:
        DataError: Shapes that do not fit.
    Source: Hadsell et al. 2006 in the form of Radenovic et al. 2018, arXiv:1711.02512, equation 4.
    """
    tuples, width = anchors.shape
    if positives.shape != anchors.shape or negatives.ndim != 3 or negatives.shape[::2] != (tuples, width):
        raise DataError(
            f"a tuple loss got anchors {tuple(anchors.shape)}, positives {tuple(positives.shape)} and negatives "
            f"{tuple(negatives.shape)}; give (T, D), (T, D) and (T, K, D)."
        )
    near = (anchors - positives + eps).norm(dim=-1)
    far = (anchors[:, None] - negatives + eps).norm(dim=-1)  # (T, K)
    return 0.5 * near.square() + 0.5 * (margin - far).clamp(min=0).square().sum(1)


@dataclass(frozen=True)
class DiverseAnchorSampler:
    """Choose anchors that are unlike each other, but neither the most unlike nor near copies.

    The first candidate is taken. Then, again and again, candidates are sorted by their largest similarity to those
    taken, lowest first; with v of them left, one of the positions floor(2v / 10) to floor(8v / 10) - 1 is taken. The
    fifth that is most different holds outliers, the fifth that is most similar near copies.

    Args:
        count: Anchors to choose; fewer come back when the pictures run out.
    Source: Mohwald et al. 2023, arXiv:2309.16351, in whole numbers; a picture that is taken leaves with all its
        copies, which is ours.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"count of diverse anchors is {self.count}; it must be 1 or more.")

    @staticmethod
    def positions(left: int) -> tuple[int, int]:
        """Give the first position and the one behind the last that may be picked among `left` sorted candidates."""
        high = max(8 * left // 10, 1)
        return min(2 * left // 10, high - 1), high

    def __call__(self, descriptors: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
        """Give positions of chosen candidates (count,) int64, in the order in which they were taken.

        Args:
            descriptors: (N, D) of the candidates, length 1, in an order that was drawn at random.
            images: (N,) which picture each candidate is; one picture may be several candidates.
            generator: Source of the draws.
        Raises:
            DataError: No candidates, or shapes that do not fit.
        """
        total = len(descriptors)
        if total == 0 or images.shape != (total,):
            raise DataError(
                f"diverse anchors got descriptors {tuple(descriptors.shape)} and images {tuple(images.shape)}; give "
                "(N, D) and (N,) with N >= 1."
            )
        left = torch.ones(total, dtype=torch.bool, device=descriptors.device)
        closest = torch.full((total,), -torch.inf, device=descriptors.device)
        taken: list[int] = []
        pick = 0
        while True:
            taken.append(pick)
            left &= images != images[pick]
            closest = torch.maximum(closest, descriptors @ descriptors[pick])
            rows = left.nonzero()[:, 0]
            if len(taken) == self.count or len(rows) == 0:
                return torch.tensor(taken, dtype=torch.int64, device=descriptors.device)
            low, high = self.positions(len(rows))
            at = int(torch.randint(low, high, (), generator=generator))
            pick = int(rows[closest[rows].argsort(stable=True)[at]])


@dataclass(frozen=True)
class ClusterHardNegativeMiner:
    """Find the pictures of other places that look most like an anchor, at most one of each place.

    Args:
        count: Negatives of each anchor.
    Source: Radenovic et al. 2018, arXiv:1711.02512, section 3.2.
    """

    count: int = 5

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"count of hard negatives is {self.count}; it must be 1 or more.")

    def __call__(
        self, anchors: Tensor, anchor_clusters: Tensor, pool: Tensor, pool_clusters: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give positions in the pool (T, count) int64, hardest first, and which of them are there (T, count) bool.

        Where the pool has fewer other places than `count`, the rest is not there and its position is 0.

        Args:
            anchors: (T, D) descriptors.
            anchor_clusters: (T,) place of each.
            pool: (M, D) descriptors to choose from.
            pool_clusters: (M,) place of each.
        Raises:
            DataError: An empty pool, or shapes that do not fit.
        """
        if len(pool) == 0 or anchor_clusters.shape != (len(anchors),) or pool_clusters.shape != (len(pool),):
            raise DataError(
                f"hard negatives got anchors {tuple(anchors.shape)}, their places {tuple(anchor_clusters.shape)}, pool "
                f"{tuple(pool.shape)} and its places {tuple(pool_clusters.shape)}; give (T, D), (T,), (M, D), (M,)."
            )
        places, inverse = pool_clusters.unique(return_inverse=True)
        similarity = anchors @ pool.T  # (T, M)
        # the best picture of each place, then the best places
        best = similarity.new_full((len(anchors), len(places)), -torch.inf)
        index = inverse.expand(len(anchors), -1)
        best = best.scatter_reduce(1, index, similarity, "amax")
        best = best.masked_fill(places == anchor_clusters[:, None], -torch.inf)
        kept = min(self.count, len(places))
        values, chosen = best.topk(kept, dim=1)
        there = values > -torch.inf
        of_place = inverse[None, None, :] == chosen[:, :, None]  # (T, kept, M)
        rows = similarity[:, None, :].masked_fill(~of_place, -torch.inf).argmax(-1)
        found = torch.zeros(len(anchors), self.count, dtype=torch.int64, device=pool.device)
        is_there = torch.zeros_like(found, dtype=torch.bool)
        found[:, :kept] = torch.where(there, rows, 0)
        is_there[:, :kept] = there
        return found, is_there
