"""A scene graph: labelled boxes and the relations between them, as a target or as a ranked prediction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError, nearest
from .boxes import Boxes
from .validation import check_scores, check_tensor, dict_entry, label_id, span
from .value import register_value

__all__ = ["SceneGraph", "mirrored_classes", "mirrored_predicates"]

# "left" or "right" as a word: between other signs than letters, or a part of camelCase such as in "toLeftOf".
_SIDE = re.compile(r"(?:(?<![^\W\d_])|(?<=[a-z])(?=[LR]))(?i:left|right)(?:(?![^\W\d_])|(?<=[a-z])(?=[A-Z]))")


@register_value
@dataclass(frozen=True, eq=False)
class SceneGraph:
    """Relations between the boxes of one image: the target of scene-graph prediction, and with scores its answer.

    A triplet names two boxes by their index and a predicate by its id; neither boxes nor predicates have a background
    entry. A target may list a triplet twice (annotators do); evaluation counts both.

    Args:
        boxes: The nodes; their scores, if any, say how sure each label is.
        triplets: (m, 3) int64: subject index, object index, predicate id. No box is related to itself.
        predicates: The P predicate names.
        scores: Confidence of each triplet (m,) float32 in [0, 1]; None for targets.
    Raises:
        DataError: A field breaks these rules.
    """

    boxes: Boxes
    triplets: Tensor
    predicates: tuple[str, ...]
    scores: Tensor | None = None

    type_name: ClassVar[str] = "scene_graph"

    def __post_init__(self) -> None:
        if not isinstance(self.boxes, Boxes):
            raise DataError(f"boxes of SceneGraph is a {type(self.boxes).__name__}; it must be Boxes.")
        _check_predicates(self.predicates)
        check_tensor("triplets of SceneGraph", self.triplets, torch.int64, ("m", 3))
        if self.scores is not None:
            check_scores("SceneGraph", self.scores, len(self.triplets))
        if len(self.triplets) == 0:
            return
        ends, names = self.triplets[:, :2], self.triplets[:, 2]
        _check_range("box index", ends, len(self.boxes), "boxes", self.triplets)
        _check_range("predicate id", names, len(self.predicates), "predicates", self.triplets)
        same = ends[:, 0] == ends[:, 1]
        if bool(same.any()):
            row = int(same.nonzero()[0])
            raise DataError(
                f"triplet {row} is {self.triplets[row].tolist()} (subject, object, predicate), so it relates box "
                f"{int(ends[row, 0])} to itself; leave such relations out."
            )

    @classmethod
    def from_pairs(
        cls,
        boxes: Boxes,
        pairs: Tensor,
        probabilities: Tensor,
        predicates: tuple[str, ...],
        most: int | None = None,
    ) -> SceneGraph:
        """Give the ranked prediction of a model: every pair with every predicate competes (no graph constraint).

        The score of a triplet is its predicate's probability times the scores of its two boxes (1 where the boxes have
        none, as in PredCls, where the labels are given).

        Args:
            boxes: The nodes with their predicted labels.
            pairs: Ordered pairs (n, 2) int64: subject index, object index.
            probabilities: (n, P) in [0, 1], without a column for "no relation" (a softmax may include one that is cut).
            predicates: The P names.
            most: Keep only so many triplets, the best; None keeps all.
        Raises:
            DataError: The shapes do not fit, or a field of the result breaks its rule.
        """
        check_tensor("pairs of SceneGraph", pairs, torch.int64, ("n", 2))
        if probabilities.shape != (len(pairs), len(predicates)):
            raise DataError(
                f"probabilities have shape {tuple(probabilities.shape)}; {len(pairs)} pairs and {len(predicates)} "
                f"predicates need ({len(pairs)}, {len(predicates)}): cut the column for 'no relation'."
            )
        count = len(predicates)
        ids = torch.arange(count, device=pairs.device).repeat(len(pairs))[:, None]
        triplets = torch.cat((pairs.repeat_interleave(count, dim=0), ids), dim=1)  # (n P, 3)
        scores = probabilities.float().flatten()
        graph = cls(boxes, triplets, predicates, scores)  # a wrong index is named before it is used
        if boxes.scores is not None:
            graph = replace(graph, scores=scores * boxes.scores[triplets[:, 0]] * boxes.scores[triplets[:, 1]])
        return graph.ranked() if most is None else graph.top(most)

    def __len__(self) -> int:
        return len(self.triplets)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.boxes.size

    @property
    def names(self) -> tuple[tuple[str, str, str], ...]:
        """(subject class, predicate, object class) of each triplet."""
        labels = self.boxes.names
        return tuple((labels[s], self.predicates[p], labels[o]) for s, o, p in self.triplets.tolist())

    def select(self, index: Tensor) -> SceneGraph:
        """Keep the triplets that `index` picks, a bool (m,) or int64 (k,) tensor; all boxes stay."""
        scores = None if self.scores is None else self.scores[index]
        return replace(self, triplets=self.triplets[index], scores=scores)

    def select_boxes(self, index: Tensor) -> SceneGraph:
        """Keep the boxes that `index` picks (each at most once), renumbered, and the triplets between them."""
        boxes = self.boxes.select(index)
        place = self.triplets.new_full((len(self.boxes),), -1)
        place[index] = torch.arange(len(boxes), device=place.device)
        ends = place[self.triplets[:, :2]]  # (m, 2)
        stay = (ends >= 0).all(dim=1)
        triplets = torch.cat((ends, self.triplets[:, 2:]), dim=1)[stay]
        return replace(self, boxes=boxes, triplets=triplets, scores=None if self.scores is None else self.scores[stay])

    def where(self, subject: str | None = None, predicate: str | None = None, object: str | None = None) -> SceneGraph:
        """Keep the triplets with these names; None takes any.

        Raises:
            DataError: No such class or predicate.
        """
        stay = torch.ones(len(self), dtype=torch.bool, device=self.triplets.device)
        for column, name in ((0, subject), (1, object)):
            if name is not None:
                stay &= self.boxes.labels[self.triplets[:, column]] == label_id(name, self.boxes.classes)
        if predicate is not None:
            if predicate not in self.predicates:
                raise DataError(
                    f"predicate '{predicate}' is not one of the {len(self.predicates)} predicates of this graph"
                    f"{nearest(predicate, self.predicates)}"
                )
            stay &= self.triplets[:, 2] == self.predicates.index(predicate)
        return self.select(stay)

    def ranked(self) -> SceneGraph:
        """Give the triplets by falling score; equal scores by subject, object and predicate, so the order is fixed.

        Raises:
            DataError: The graph has no scores.
        """
        return self.select(self._best_first())

    def constrained(self, most: int | None = None) -> SceneGraph:
        """Give the ranked graph with the best predicate of each ordered pair only (the graph constraint).

        Args:
            most: Keep only so many triplets, the best; None keeps all.
        """
        best_first = self._best_first()
        return self.select(best_first[self._first_of_pairs(best_first)[:most]])

    def leading(self, most: int) -> SceneGraph:
        """Give, ranked, the `most` best triplets and the `most` best under the graph constraint, so that `top` and
        `constrained` give of it what they give of the whole graph, up to so many."""
        best_first = self._best_first()
        kept = torch.zeros_like(best_first, dtype=torch.bool)
        kept[:most] = True
        kept[self._first_of_pairs(best_first)[:most]] = True
        return self.select(best_first[kept])

    def top(self, k: int) -> SceneGraph:
        """Give the k best triplets in order. Take `constrained` before `top`: cutting first loses whole pairs."""
        return self.select(self._best_first()[:k])

    def _first_of_pairs(self, best_first: Tensor) -> Tensor:
        """Positions in `best_first` of the best triplet of each ordered pair, ascending."""
        pair = (self.triplets[:, 0] * len(self.boxes) + self.triplets[:, 1])[best_first]
        pair, order = pair.sort(stable=True)
        first = torch.ones_like(pair, dtype=torch.bool)
        first[1:] = pair[1:] != pair[:-1]
        return order[first].sort().values

    def _best_first(self) -> Tensor:
        """Where the triplets stand (m,), in the order of `ranked`."""
        if self.scores is None:
            raise DataError("this SceneGraph has no scores, so its triplets have no order; rank predictions only.")
        subject, target, predicate = self.triplets.unbind(dim=1)
        code = (subject * len(self.boxes) + target) * len(self.predicates) + predicate
        order = code.argsort(stable=True)
        return order[self.scores[order].argsort(descending=True, stable=True)]

    def clip(self) -> SceneGraph:
        """Cut every box at the image edges; all boxes and triplets stay."""
        return replace(self, boxes=self.boxes.clip())

    def mirrored(self) -> SceneGraph:
        """Exchange "left" and "right" in every predicate, as a mirrored image needs; boxes stay where they are.

        Raises:
            DataError: A predicate that names a side has no counterpart.
        """
        swap = torch.tensor(mirrored_predicates(self.predicates), dtype=torch.int64, device=self.triplets.device)
        triplets = self.triplets.clone()
        triplets[:, 2] = swap[triplets[:, 2]]
        return replace(self, triplets=triplets)

    def to(self, device: torch.device | str) -> SceneGraph:
        """Give the same graph on another device."""
        scores = None if self.scores is None else self.scores.to(device)
        return replace(self, boxes=self.boxes.to(device), triplets=self.triplets.to(device), scores=scores)

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores every field bit for bit (on the CPU)."""
        rows: list[dict[str, Any]] = []
        for index, (subject, target, predicate) in enumerate(self.triplets.tolist()):
            row: dict[str, Any] = {
                "subject": subject,
                "predicate": self.predicates[predicate],
                "object": target,
                "predicate_id": predicate,
            }
            if self.scores is not None:
                row["score"] = float(self.scores[index])
            rows.append(row)
        return {
            "type": self.type_name,
            "boxes": self.boxes.to_dict(),
            "predicates": list(self.predicates),
            "has_scores": self.scores is not None,
            "triplets": rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SceneGraph:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing or a field breaks its rule."""
        rows = dict_entry("SceneGraph", data, "triplets")
        column = lambda key: [dict_entry("a triplet", row, key) for row in rows]  # noqa: E731
        triplets = [column(key) for key in ("subject", "object", "predicate_id")]
        return cls(
            boxes=Boxes.from_dict(dict_entry("SceneGraph", data, "boxes")),
            triplets=torch.tensor(triplets, dtype=torch.int64).reshape(3, -1).T.contiguous(),
            predicates=tuple(dict_entry("SceneGraph", data, "predicates")),
            scores=torch.tensor(column("score"), dtype=torch.float32)
            if dict_entry("SceneGraph", data, "has_scores")
            else None,
        )

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the boxes over the photograph, the graph as a diagram beside it, and the surest triplets in words."""
        from .graph_drawing import draw_scene_graph

        return draw_scene_graph(image, self, long_side)


def mirrored_predicates(predicates: tuple[str, ...]) -> tuple[int, ...]:
    """Give, for each predicate, the id of the one that holds in the mirrored image.

    The word counts in any case, and as a part of names such as "left_of", "to-left" and "leftOf".

    Raises:
        DataError: A name with the word "left" or "right" has no counterpart.
    """
    ids = []
    for name in predicates:
        other = _SIDE.sub(_other_side, name)
        if other not in predicates:
            raise DataError(
                f"predicate '{name}' names a side, but '{other}' is not one of the {len(predicates)} predicates; leave "
                "mirroring out for this set."
            )
        ids.append(predicates.index(other))
    return tuple(ids)


@lru_cache(maxsize=64)
def mirrored_classes(classes: tuple[str, ...]) -> tuple[int, ...] | None:
    """Give, for each class, the id of its counterpart such as "right hand" of "left hand", or its own where there is
    none; None where no class has one."""
    place = {name: k for k, name in enumerate(classes)}
    ids = tuple(place.get(_SIDE.sub(_other_side, name), k) for k, name in enumerate(classes))
    return ids if ids != tuple(range(len(classes))) else None


def _other_side(found: re.Match[str]) -> str:
    word = found[0]
    other = "right" if word.lower() == "left" else "left"
    return other.upper() if word.isupper() else other.title() if word[0].isupper() else other


def _check_predicates(predicates: Any) -> None:
    if not isinstance(predicates, tuple):
        raise DataError(
            f"predicates of SceneGraph is a {type(predicates).__name__}; it must be a tuple of names; use "
            "tuple(predicates)."
        )
    for name in predicates:
        if not isinstance(name, str):
            raise DataError(f"predicates of SceneGraph holds {name!r}; every predicate must be a string.")


def _check_range(what: str, values: Tensor, count: int, kind: str, triplets: Tensor) -> None:
    low, high = span(values)
    if low < 0 or high >= count:
        row = int(((values < 0) | (values >= count)).nonzero()[0, 0])
        raise DataError(
            f"triplet {row} is {triplets[row].tolist()} (subject, object, predicate), but the graph has {count} "
            f"{kind}; a {what} must be 0..{count - 1}."
        )
