"""Mean average precision of rankings by similarity, with pictures that count neither way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..structures import Descriptor, PlaceLabel
from .protocol import check_mergeable, check_pairs

__all__ = ["RetrievalMetric", "average_precision", "mean_ap_trapezoid"]


def average_precision(similarity: Tensor, is_positive: Tensor, is_junk: Tensor | None = None) -> float | None:
    """Give the average precision of one query by the trapezoid rule; None where it has no positive.

    The j-th positive (from 0) at rank r (from 0) adds (j / r + (j + 1) / (r + 1)) / (2 n), with j / r = 1 at r = 0 and
    n positives. Of equal similarities the later one counts as the better: a tie never helps.

    Args:
        similarity: (N,) to the pictures of the gallery.
        is_positive: (N,) bool.
        is_junk: (N,) bool: taken out before ranking. None for none.
    Raises:
        DataError: Shapes that do not fit, or a similarity that is not a number.
    Source: the evaluation of the Oxford and Paris buildings (Philbin et al. 2007), as Mohwald et al. 2023 use it.
    """
    junk = torch.zeros_like(is_positive) if is_junk is None else is_junk
    if not similarity.shape == is_positive.shape == junk.shape or similarity.ndim != 1:
        raise DataError(
            f"similarity {tuple(similarity.shape)}, is_positive {tuple(is_positive.shape)} and is_junk "
            f"{tuple(junk.shape)} of a query do not fit; all must be (N,)."
        )
    if bool(similarity.isnan().any()):
        raise DataError("a similarity is NaN; descriptors must be finite.")
    kept = ~junk
    values, positive = similarity[kept].double(), is_positive[kept]
    total = int(positive.sum())
    if total == 0:
        return None
    # wrong pictures first among equals
    order = torch.argsort(positive.to(torch.int8), stable=True)
    order = order[values[order].argsort(descending=True, stable=True)]
    ranks = positive[order].nonzero()[:, 0].double()
    found = torch.arange(total, dtype=torch.float64)
    before = torch.where(ranks > 0, found / ranks.clamp(min=1), 1.0)
    return float((before + (found + 1) / (ranks + 1)).sum() / (2 * total))


def mean_ap_trapezoid(similarity: Tensor, is_positive: Tensor, is_junk: Tensor | None = None) -> float:
    """Give the mean of `average_precision` over queries; those without positives are left out.

    Args:
        similarity, is_positive, is_junk: (Q, N), a row for each query.
    Raises:
        DataError: No query has a positive.
    """
    junk = torch.zeros_like(is_positive) if is_junk is None else is_junk
    rows = zip(similarity, is_positive, junk, strict=True)
    found = [value for row in rows if (value := average_precision(*row)) is not None]
    if not found:
        raise DataError(f"none of {len(similarity)} queries has a positive; there is nothing to rank.")
    return sum(found) / len(found)


class RetrievalMetric:
    """mAP and R@1 over places: each query is looked for among the pictures of the gallery.

    A query is no answer to itself, and neither right nor wrong are the pictures marked as junk.

    Args:
        queries, gallery: Only pictures of this time ("night") ask, or answer; None takes all.
    """

    def __init__(self, queries: str | None = None, gallery: str | None = None) -> None:
        self.queries, self.gallery = queries, gallery
        self._vectors: list[Tensor] = []
        self._targets: list[PlaceLabel] = []

    def update(self, predictions: Sequence[Descriptor], targets: Sequence[PlaceLabel]) -> None:
        """Add pictures.

        Raises:
            DataError: Not one descriptor for each target, or another kind of value.
        """
        check_pairs(predictions, targets)
        for prediction, target in zip(predictions, targets, strict=True):
            if not isinstance(prediction, Descriptor) or not isinstance(target, PlaceLabel):
                raise DataError(
                    f"retrieval got a {type(prediction).__name__} for a {type(target).__name__}; give Descriptor and "
                    "PlaceLabel."
                )
            self._vectors.append(prediction.vector.cpu())
            self._targets.append(target)

    def average_precisions(self) -> list[float | None]:
        """Give the average precision of each picture as a query, in order; None where it asks nothing."""
        return [row[0] if row else None for row in self._rows()]

    def compute(self) -> dict[str, float]:
        """Give `mAP`, and `R@1`: the share of queries whose first answer is of their place.

        Raises:
            DataError: No query has another picture of its place in the gallery.
        """
        rows = [row for row in self._rows() if row is not None]
        if not rows:
            raise DataError(
                f"no query (time {self.queries!r}) among {len(self._targets)} pictures has another picture of its "
                f"place in the gallery (time {self.gallery!r}); nothing can be found."
            )
        return {
            "mAP": sum(ap for ap, _ in rows) / len(rows),
            "R@1": sum(first for _, first in rows) / len(rows),
        }

    def merge(self, other: Self) -> Self:
        """Add what another metric has seen."""
        check_mergeable(self, other, "queries", "gallery")
        self._vectors += other._vectors
        self._targets += other._targets
        return self

    def _rows(self) -> list[tuple[float, bool] | None]:
        """(average precision, first answer is right) of each picture, None where it asks nothing."""
        times = {t.time for t in self._targets}
        for time in (self.queries, self.gallery):
            if time is not None and self._targets and time not in times:
                raise ConfigError(f"no picture is of time '{time}'; the times are {', '.join(sorted(times))}.")
        if not self._vectors:
            return []
        vectors = torch.stack(self._vectors).double()
        places = [t.place for t in self._targets]
        ids = torch.tensor([places.index(p) for p in places])
        outside = torch.tensor([t.is_junk or self.gallery not in (None, t.time) for t in self._targets])
        similarity = vectors @ vectors.T
        rows: list[tuple[float, bool] | None] = []
        for i, target in enumerate(self._targets):
            junk = outside.clone()
            junk[i] = True
            positive = (ids == ids[i]) & ~junk
            asks = self.queries in (None, target.time) and not target.is_junk
            found = average_precision(similarity[i], positive, junk) if asks else None
            if found is None:
                rows.append(None)
                continue
            top = float(similarity[i][~junk].max())
            # a tie with a wrong picture is not right
            wrong = similarity[i][~junk & ~positive]
            right = float(similarity[i][positive].max()) == top and not (len(wrong) and float(wrong.max()) == top)
            rows.append((found, right))
        return rows
