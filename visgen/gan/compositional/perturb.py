"""New compositions from old: change the classes of some boxes of a graph, by chance, by likeness or by rarity.

Boxes, pairs and predicates stay as they are. Every method visits max(1, round(share n)) of the n boxes, drawn without
replacement in proportion to max(number of relations, 0.01); a box that comes later sees the changes before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ...errors import ConfigError, DataError
from ...options import call_with
from ...registry import Registry
from .vectors import nearest_classes

__all__ = ["PERTURBATIONS", "Perturbation", "Perturbed", "build_perturbation", "count_table"]

LONELY = 0.01  # weight of a box without relations


class Perturbed(NamedTuple):
    """A graph's new classes.

    Attributes:
        labels: (n,) int64.
        visited: The boxes that were visited, in order.
        loose: How many of them have a class that the last step of "graphn" took from beyond its candidates, so that
            the least training count need not hold; 0 for other methods.
    """

    labels: Tensor
    visited: tuple[int, ...]
    loose: int = 0


class Perturbation(Protocol):
    """Changes the classes of a graph; deterministic given the generator."""

    def __call__(self, labels: Tensor, triplets: Tensor, generator: torch.Generator) -> Perturbed:
        """Give new classes for `labels` (n,) of a graph with `triplets` (m, 3): subject and object index, predicate."""


@dataclass(frozen=True)
class _Known:
    """What the methods know of the training data: `counts` (K, P, K), and `vectors` (K, D) or None."""

    counts: Tensor
    vectors: Tensor | None

    def neighbours(self, k: int) -> Tensor:
        if k == 0:
            return torch.zeros(len(self.counts), 0, dtype=torch.int64)
        if self.vectors is None:
            raise ConfigError(f"{k} neighbours need class vectors; give vectors (K, D), see graph_vectors.")
        return nearest_classes(self.vectors, k)


PERTURBATIONS: Registry[Callable[..., Any]] = Registry(
    "perturbation", "A callable (what is known, share, **options) that gives a Perturbation."
)


class _Visitor:
    """Visits boxes in turn and leaves the choice of a class to `choose`."""

    def __init__(self, known: _Known, share: float = 0.2) -> None:
        if not 0 < share <= 1:
            raise ConfigError(f"perturbation share is {share}; it is the share of a graph's boxes, use (0, 1].")
        self.known, self.share, self.classes = known, share, len(known.counts)

    def __call__(self, labels: Tensor, triplets: Tensor, generator: torch.Generator) -> Perturbed:
        n = len(labels)
        if n == 0:
            return Perturbed(labels.clone(), ())
        degree = torch.bincount(triplets[:, :2].flatten(), minlength=n).double()
        visited = torch.multinomial(
            degree.clamp(min=LONELY), max(1, round(self.share * n)), generator=generator
        ).tolist()
        changed, loose = labels.clone(), 0
        for node in visited:
            changed[node], is_loose = self.choose(node, changed, triplets, generator)
            loose += is_loose
        return Perturbed(changed, tuple(visited), loose)

    def choose(self, node: int, labels: Tensor, triplets: Tensor, generator: torch.Generator) -> tuple[int, bool]:
        raise NotImplementedError


@PERTURBATIONS.register("rand")
class Rand(_Visitor):
    """Any other class, all alike: the most novel compositions, and the least plausible."""

    def choose(self, node: int, labels: Tensor, triplets: Tensor, generator: torch.Generator) -> tuple[int, bool]:
        current = int(labels[node])
        if self.classes < 2:
            return current, False
        drawn = int(torch.randint(self.classes - 1, (), generator=generator))
        return drawn + (drawn >= current), False


@PERTURBATIONS.register("neigh")
class Neigh(_Visitor):
    """One of the `nearest` classes whose vectors are most like that of the current one: safe, nearly synonyms."""

    def __init__(self, known: _Known, share: float = 0.2, nearest: int = 5) -> None:
        super().__init__(known, share)
        if nearest < 1:
            raise ConfigError(f"nearest is {nearest}; 'neigh' needs at least 1 neighbour.")
        self.near = known.neighbours(nearest)

    def choose(self, node: int, labels: Tensor, triplets: Tensor, generator: torch.Generator) -> tuple[int, bool]:
        return _draw(self.near[int(labels[node])], generator), False


@PERTURBATIONS.register("graphn")
class Graphn(_Visitor):
    """Rare but seen: a class that training shows in this box's relations, the rarer the likelier.

    A candidate differs from the current class, occurs in training in at least max(1, min(r, 2)) of the box's r
    different relations with this box replaced, and in each of those that it occurs in at least `alpha` times. It is
    drawn in proportion to 1 / its mean count over them. The new class is then any of it and its `nearest` neighbours
    other than the current class. Without a candidate the neighbours of the current class are taken; with `nearest` 0
    nothing changes then.

    Args:
        known: Counts, and vectors where `nearest` is above 0.
        share: Of the boxes.
        alpha: Least training count, 0 or more.
        nearest: Neighbours k; 0 keeps the drawn class, and with it the promise of `alpha`.
    Source: Knyazev et al. 2021, arXiv:2007.05756. There a relation that is listed twice counts as two.
    """

    def __init__(self, known: _Known, share: float = 0.2, alpha: int = 2, nearest: int = 5) -> None:
        super().__init__(known, share)
        if alpha < 0 or nearest < 0:
            raise ConfigError(f"alpha is {alpha} and nearest is {nearest}; both must be 0 or more.")
        self.alpha, self.near = alpha, known.neighbours(nearest)

    def candidates(self, node: int, labels: Tensor, triplets: Tensor) -> Tensor:
        """Probability (K,) float64 of each class as the candidate; all zero where there is none."""
        lookups: dict[tuple[bool, int, int], Tensor] = {}
        for subject, target, predicate in triplets.tolist():
            if subject == node:
                other = int(labels[target])
                lookups[True, predicate, other] = self.known.counts[:, predicate, other]
            if target == node:
                other = int(labels[subject])
                lookups[False, predicate, other] = self.known.counts[other, predicate, :]
        if not lookups:
            return torch.zeros(self.classes, dtype=torch.float64)
        found = torch.stack(list(lookups.values())).double()  # (r, K)
        occurs = found > 0
        times = occurs.sum(0)
        least = torch.where(occurs, found, torch.inf).amin(0)
        accepted = (times >= max(1, min(len(found), 2))) & (least >= self.alpha)
        accepted[int(labels[node])] = False
        rarity = torch.where(accepted, times / found.sum(0).clamp(min=1), 0.0)
        return rarity / rarity.sum().clamp(min=1e-300)

    def choose(self, node: int, labels: Tensor, triplets: Tensor, generator: torch.Generator) -> tuple[int, bool]:
        current = int(labels[node])
        chances = self.candidates(node, labels, triplets)
        drawn = int(torch.multinomial(chances, 1, generator=generator)) if bool(chances.any()) else current
        pool = torch.cat([torch.tensor([drawn]), self.near[drawn]])
        pool = pool[pool != current]
        if len(pool) == 0:
            return current, False
        final = _draw(pool, generator)
        return final, not bool(chances[final] > 0)


def build_perturbation(options: Mapping[str, Any], counts: Tensor, vectors: Tensor | None = None) -> Perturbation:
    """Build the perturbation that `options` name, such as {"name": "graphn", "alpha": 2}.

    Args:
        options: `name` in PERTURBATIONS and its keywords: `share` of the boxes (0.2); "neigh" and "graphn": `nearest`
            (5); "graphn": `alpha` (2).
        counts: (K, P, K) training counts of subject class, predicate, object class; see `count_table`.
        vectors: (K, D) class vectors, for neighbours.
    Raises:
        ConfigError, UnknownName: No name, an unknown one, or an option that it does not take.
    """
    given = dict(options)
    name = given.pop("name", None)
    if name is None:
        raise ConfigError(f"perturb is {dict(options)}; it needs a name, one of {', '.join(PERTURBATIONS)}.")
    found: Perturbation = call_with(PERTURBATIONS.get(name), given, f"perturbation '{name}'", _Known(counts, vectors))
    return found


def count_table(
    counts: Mapping[tuple[str, str, str], int], classes: Sequence[str], predicates: Sequence[str]
) -> Tensor:
    """Give counts of named triplets, as `visgen.data.triplet_counts` finds them, as a table (K, P, K) int64.

    Raises:
        DataError: A name that is not among the classes or predicates.
    """
    objects, names = {c: i for i, c in enumerate(classes)}, {p: i for i, p in enumerate(predicates)}
    table = torch.zeros(len(objects), len(names), len(objects), dtype=torch.int64)
    for (subject, predicate, target), count in counts.items():
        if subject not in objects or target not in objects or predicate not in names:
            raise DataError(
                f"the triplet ('{subject}', '{predicate}', '{target}') is not made of the label sets given."
            )
        table[objects[subject], names[predicate], objects[target]] = count
    return table


def _draw(pool: Tensor, generator: torch.Generator) -> int:
    return int(pool[int(torch.randint(len(pool), (), generator=generator))])
