"""Recall of scene graphs: over all triplets, over predicates, and over triplets that training never or rarely shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from ..errors import DataError
from ..structures import SceneGraph, pairwise_iou
from .protocol import check_mergeable, check_pairs, check_same_classes

__all__ = ["PROTOCOLS", "SceneGraphMetric"]

PROTOCOLS = ("predcls", "sgcls", "sggen")
SHOTS = {"zs": (0, 0), "10shot": (1, 10), "100shot": (11, 100)}
"""Name of a part of the test triplets to how often training shows them, both ends included."""
PAIR_TOP = (1, 5, 10, 15, 20, 50)
NOT_FOUND = 301  # the reference keeps 300 triplets without constraint, so this rank is worse than any
NEVER = 2**62
_AGGREGATES = ("images", "relations")


class SceneGraphMetric:
    """Share of the true triplets that the best K predicted ones name.

    A predicted triplet matches a true one when subject class, predicate and object class are equal and both boxes have
    an IoU of at least 0.5 with their true box. One prediction may match several true triplets, a true one counts once,
    and a triplet that the target lists twice counts twice. Protocols differ in what the model was given: in "predcls"
    the target's boxes and labels, in "sgcls" its boxes, in "sggen" nothing; what was given must come back unchanged.

    Figures, for each K of `top`:
    - `R@K`: over all triplets.
    - `mR@K`: the recall of each predicate's triplets, then the mean over the predicates that a target has.
      `mR@K/all_predicates` divides by all predicates instead, as some published figures do.
    - With `counts`: `zsR@K` over the triplets of classes that training never shows, `10shotR@K` and `100shotR@K` over
      those it shows 1 to 10 and 11 to 100 times. The predictions are not filtered.
    And over the rank of a true triplet among the predictions between its own two boxes, in either direction (301 where
    it is not among them): `R_tr@K` for K in 1, 5, 10, 15, 20, 50, `rank_tr_mean`, `rank_tr_median`, and with `counts`
    `wR_tr@K`, where a triplet weighs 1 / (count + 1). A figure that nothing counts for is left out.

    Args:
        classes: Object class names in the order of their ids.
        predicates: Predicate names likewise.
        protocol: "predcls", "sgcls" or "sggen".
        graph_constraint: True (default) ranks the best predicate of each ordered pair only; False lets all compete.
            Figures of the two are not comparable.
        top: The values of K.
        counts: Training count of each (subject class, predicate, object class), see `visgen.data.triplet_counts`;
            triplets that are not in it have count 0.
        aggregate: "images" (the habit on Visual Genome): recall within an image, then the mean over the images that
            have such triplets; "relations" (the habit on VRD): all triplets of the data set pooled.
    Raises:
        DataError: An unknown word, no K or one below 1, or counts of an unknown name.
    Source: Lu et al. 2016, arXiv:1608.00187 (R@K, zero-shot); Chen et al. 2019, arXiv:1903.03326, and Tang et al. 2019,
        arXiv:1812.01880 (mR@K); Knyazev et al. 2020, arXiv:2005.08230 (n-shot, weighted triplet recall).
    """

    def __init__(
        self,
        classes: Sequence[str],
        predicates: Sequence[str],
        *,
        protocol: str = "predcls",
        graph_constraint: bool = True,
        top: Sequence[int] = (20, 50, 100),
        counts: Mapping[tuple[str, str, str], int] | None = None,
        aggregate: str = "images",
    ) -> None:
        self.classes, self.predicates = tuple(classes), tuple(predicates)
        if protocol not in PROTOCOLS:
            raise DataError(f"protocol is '{protocol}'; use one of {', '.join(PROTOCOLS)}.")
        self.top = tuple(int(k) for k in top)
        if not self.top or min(self.top) < 1:
            raise DataError(f"top is {self.top}; give at least one K, each at least 1.")
        _check_aggregate(aggregate)
        self.protocol, self.graph_constraint, self.aggregate = protocol, graph_constraint, aggregate
        self._counts = None if counts is None else self._ids(counts)
        self.skipped = 0  # images whose target has no triplet
        # One tensor (m, 5) per image: subject class, predicate, object class, rank, rank between its own boxes.
        self._images: list[Tensor] = []

    def _ids(self, counts: Mapping[tuple[str, str, str], int]) -> dict[tuple[int, int, int], int]:
        classes = {name: i for i, name in enumerate(self.classes)}
        predicates = {name: i for i, name in enumerate(self.predicates)}
        out = {}
        for (subject, predicate, target), count in counts.items():
            if subject not in classes or predicate not in predicates or target not in classes:
                raise DataError(
                    f"counts has the triplet ('{subject}', '{predicate}', '{target}'), which is not made of the "
                    "metric's class, predicate and class names; count over a source with the same label sets."
                )
            out[classes[subject], predicates[predicate], classes[target]] = int(count)
        return out

    def update(self, predictions: Sequence[SceneGraph], targets: Sequence[SceneGraph]) -> None:
        """Add images.

        Raises:
            DataError: Unequal numbers, other label sets than the metric's, a prediction without scores or for another
                image size, or one that changes what its protocol gives.
        """
        check_pairs(predictions, targets)
        for prediction, target in zip(predictions, targets, strict=True):
            for graph, what in ((prediction, "prediction"), (target, "target")):
                check_same_classes(self.classes, graph.boxes.classes, what)
                check_same_classes(self.predicates, graph.predicates, f"predicate list of the {what}")
            self._check_given(prediction, target)
            if len(target) == 0:
                self.skipped += 1
                continue
            prediction, target = prediction.to("cpu"), target.to("cpu")
            ranked = prediction.constrained() if self.graph_constraint else prediction.ranked()
            self._images.append(_rank(ranked, target, max(self.top), self.protocol != "sggen"))

    def _check_given(self, prediction: SceneGraph, target: SceneGraph) -> None:
        ours, true = prediction.boxes, target.boxes
        if ours.size != true.size:
            raise DataError(
                f"a prediction is for an image of {ours.size} (H, W) and its target of {true.size}; scale it."
            )
        if self.protocol == "sggen":
            return
        if len(ours) != len(true) or not torch.allclose(ours.xyxy.cpu(), true.xyxy.cpu(), rtol=0, atol=0.01):
            raise DataError(
                f"protocol '{self.protocol}' gives the model the target's boxes, but a prediction has {len(ours)} "
                f"boxes that are not the target's {len(true)} in their order; pass them through, or use 'sggen'."
            )
        if self.protocol == "predcls" and not torch.equal(ours.labels.cpu(), true.labels.cpu()):
            index = int((ours.labels.cpu() != true.labels.cpu()).nonzero()[0])
            raise DataError(
                f"protocol 'predcls' gives the model the target's labels, but box {index} is '{ours.names[index]}' in "
                f"a prediction and '{true.names[index]}' in its target; pass them through, or use 'sgcls'."
            )

    def compute(self, aggregate: str | None = None) -> dict[str, float]:
        """Give the figures listed above.

        Args:
            aggregate: "images" or "relations"; None takes the metric's own.
        Raises:
            DataError: No triplet was added, or an unknown word.
        """
        aggregate = self.aggregate if aggregate is None else aggregate
        _check_aggregate(aggregate)
        if not self._images:
            raise DataError("no triplet was added to the scene-graph metric; every target was without relations.")
        rows = torch.cat(self._images)
        image = torch.repeat_interleave(torch.tensor([len(r) for r in self._images]))
        predicate, rank = rows[:, 1], rows[:, 3]
        parts = {"": torch.ones_like(rank, dtype=torch.bool)}
        count = self._count_of(rows)
        if count is not None:
            parts |= {name: (count >= low) & (count <= high) for name, (low, high) in SHOTS.items()}
        figures: dict[str, float] = {}
        for name, part in parts.items():
            for k in self.top:
                value = _recall(rank < k, part, image, aggregate)
                figures |= {} if value is None else {f"{name}R@{k}": value}
        for k in self.top:
            each = self._of_predicates(rank < k, predicate, image, aggregate)
            figures[f"mR@{k}"] = sum(each.values()) / len(each)
            figures[f"mR@{k}/all_predicates"] = sum(each.values()) / len(self.predicates)
        return figures | _pair_figures(rows[:, 4], count)

    def predicate_recall(self, k: int, aggregate: str | None = None) -> dict[str, float]:
        """Give the recall at K of each predicate that a target has; their mean is `mR@K`.

        Raises:
            DataError: K is beyond the largest of `top`, or an unknown word.
        """
        if not 1 <= k <= max(self.top):
            raise DataError(f"K is {k}; this metric ranked the first {max(self.top)}: use 1..{max(self.top)}.")
        aggregate = self.aggregate if aggregate is None else aggregate
        _check_aggregate(aggregate)
        rows = torch.cat(self._images) if self._images else torch.zeros(0, 5, dtype=torch.int64)
        image = torch.repeat_interleave(torch.tensor([len(r) for r in self._images], dtype=torch.int64))
        return self._of_predicates(rows[:, 3] < k, rows[:, 1], image, aggregate)

    def image_recall(self, k: int, part: str | None = None) -> Tensor:
        """Give the recall at K (N, P) float64 of each predicate in each image; NaN where the image has none of it.

        The images are those that have a triplet, in the order in which they were added. For the aggregate "images",
        `metrics.bootstrap.mean_of_groups` of it is `mR@K`.

        Args:
            k: At most the largest of `top`.
            part: Give (N, 1) over all predicates together instead: "" for all triplets of an image, "zs", "10shot" or
                "100shot" for those of a part, which needs `counts`. Its mean over images is `R@K`, `zsR@K` and so on.
        Raises:
            DataError: K is beyond the largest of `top`, or an unknown part.
        """
        if not 1 <= k <= max(self.top):
            raise DataError(f"K is {k}; this metric ranked the first {max(self.top)}: use 1..{max(self.top)}.")
        if part is not None:
            return self._part_recall(k, part)
        table = torch.full((len(self._images), len(self.predicates)), torch.nan, dtype=torch.float64)
        for row, found in zip(table, self._images, strict=True):
            for predicate in found[:, 1].unique().tolist():
                row[predicate] = (found[found[:, 1] == predicate, 3] < k).double().mean()
        return table

    def ranks(self) -> list[Tensor]:
        """Give, for each image with a triplet, rows (m, 5): subject class, predicate, object class, rank, pair rank.

        A rank beyond the largest of `top` is not told apart from no match.
        """
        return list(self._images)

    def count_of(self, rows: Tensor) -> Tensor:
        """Give the training count (m,) of the triplets that rows of `ranks` name.

        Raises:
            DataError: The metric has no counts.
        """
        count = self._count_of(rows)
        if count is None:
            raise DataError("the scene-graph metric was built without training counts; give it `counts`.")
        return count

    def _part_recall(self, k: int, part: str) -> Tensor:
        if part and (part not in SHOTS or self._counts is None):
            raise DataError(f"part is '{part}'; use '' for all, or with counts one of {', '.join(SHOTS)}.")
        column = torch.full((len(self._images), 1), torch.nan, dtype=torch.float64)
        for row, found in zip(column, self._images, strict=True):
            count = self._count_of(found)
            inside = torch.ones(len(found), dtype=torch.bool)
            if part and count is not None:
                inside = (count >= SHOTS[part][0]) & (count <= SHOTS[part][1])
            if inside.any():
                row[0] = (found[inside, 3] < k).double().mean()
        return column

    def _of_predicates(self, hit: Tensor, predicate: Tensor, image: Tensor, aggregate: str) -> dict[str, float]:
        values = {name: _recall(hit, predicate == i, image, aggregate) for i, name in enumerate(self.predicates)}
        return {name: value for name, value in values.items() if value is not None}

    def _count_of(self, rows: Tensor) -> Tensor | None:
        if self._counts is None:
            return None
        return torch.tensor([self._counts.get((s, p, o), 0) for s, p, o in rows[:, :3].tolist()])

    def merge(self, other: Self) -> Self:
        """Add the images that `other` has seen; gives self."""
        check_mergeable(self, other, "classes", "predicates", "protocol", "graph_constraint", "top", "aggregate")
        if self._counts != other._counts:
            raise DataError("the metrics differ in counts; merge metrics of equal options only.")
        self._images += other._images
        self.skipped += other.skipped
        return self


def _rank(ranked: SceneGraph, target: SceneGraph, most: int, in_step: bool) -> Tensor:
    """The rows (m, 5) of one image; see `SceneGraphMetric._images`. `in_step`: box i of both is the same box."""
    subject, end, predicate = target.triplets.unbind(1)
    # Doubles, so that an IoU of exactly one half is one half.
    near = pairwise_iou(target.boxes.xyxy.double(), ranked.boxes.xyxy.double()) >= 0.5
    alike = target.boxes.labels[:, None] == ranked.boxes.labels[None, :]
    first = ranked.select(torch.arange(min(most, len(ranked))))
    rank = _first_true(_matches(near & alike, first, target.triplets), NEVER)
    own = torch.eye(len(target.boxes), dtype=torch.bool) if in_step else near
    s, o, _ = ranked.triplets.unbind(1)
    between = (own[subject][:, s] & own[end][:, o]) | (own[subject][:, o] & own[end][:, s])  # (m, n)
    found = _first_true(_matches(own & alike, ranked, target.triplets), -1)
    before = (between & (torch.arange(len(ranked)) < found[:, None])).sum(1)
    pair_rank = torch.where(found < 0, NOT_FOUND, before.clamp(max=NOT_FOUND))
    labels = target.boxes.labels
    return torch.stack((labels[subject], predicate, labels[end], rank, pair_rank), dim=1)


def _matches(box: Tensor, ranked: SceneGraph, true: Tensor) -> Tensor:
    """(m, n): whether predicted triplet n names true triplet m; `box` says which boxes match."""
    s, o, p = ranked.triplets.unbind(1)
    return box[true[:, 0]][:, s] & box[true[:, 1]][:, o] & (true[:, 2:] == p[None, :])


def _first_true(table: Tensor, none: int) -> Tensor:
    """The first true column of each row, or `none`."""
    if table.shape[1] == 0:
        return torch.full((len(table),), none)
    return torch.where(table.any(1), table.int().argmax(1), none)


def _recall(hit: Tensor, part: Tensor, image: Tensor, aggregate: str) -> float | None:
    """Recall over a part of the triplets; None where it is empty."""
    hit, image = hit[part].double(), image[part]
    if len(hit) == 0:
        return None
    if aggregate == "relations":
        return float(hit.mean())
    total = image.bincount()
    found = torch.zeros(len(total), dtype=torch.float64).index_add_(0, image, hit)
    return float((found[total > 0] / total[total > 0]).mean())


def _pair_figures(rank: Tensor, count: Tensor | None) -> dict[str, float]:
    """Figures of the rank among the predictions between a triplet's own boxes; pooled over all images."""
    figures = {f"R_tr@{k}": float((rank < k).double().mean()) for k in PAIR_TOP}
    if count is not None:
        weight = 1 / (count + 1).double()
        figures |= {f"wR_tr@{k}": float(weight[rank < k].sum() / weight.sum()) for k in PAIR_TOP}
    ordered = rank.double()
    return figures | {"rank_tr_mean": float(ordered.mean()), "rank_tr_median": float(ordered.quantile(0.5))}


def _check_aggregate(aggregate: str) -> None:
    if aggregate not in _AGGREGATES:
        raise DataError(f"aggregate is '{aggregate}'; use 'images' or 'relations'.")
