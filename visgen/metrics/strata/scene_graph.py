"""Strata of scene graphs: predicates, compositions that training never or rarely shows, and light."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..scene_graph import SceneGraphMetric
from .protocol import ALL, LIGHT, Part, Stratum, check_bounds, check_filled, light_strata
from .table import RatioTable

__all__ = ["SceneGraphStrata"]

RARE = (1, 10)
"""Training counts, both ends included, that make a composition rare."""
_SHOWN = 20  # compositions named in a stratum


class SceneGraphStrata:
    """Recall at K of the relations of each predicate, of compositions by how often training shows them, and by light.

    Recall pools the relations of all images (the aggregate "relations" of SceneGraphMetric). With training counts there
    are the strata "zero-shot" (never shown), "rare" (1 to 10 times) and "common", each beside the relations of the
    others; `members` names their compositions, those missed most often first.

    Args:
        classes: Object class names.
        predicates: Predicate names.
        counts: Training count of each (subject class, predicate, object class); None leaves compositions out.
        k: Predicted triplets of an image that count.
        protocol, graph_constraint: As in SceneGraphMetric.
        light: Mean luma below which a picture is dark, and from which it is bright.
    """

    def __init__(
        self,
        classes: Sequence[str],
        predicates: Sequence[str],
        *,
        counts: Mapping[tuple[str, str, str], int] | None = None,
        k: int = 20,
        protocol: str = "predcls",
        graph_constraint: bool = True,
        light: Sequence[float] = LIGHT,
    ) -> None:
        self.bounds = check_bounds(light)
        self.metric = SceneGraphMetric(
            classes, predicates, protocol=protocol, graph_constraint=graph_constraint, top=(k,), counts=counts
        )
        self.k = k
        self._known = counts is not None
        self._rows: list[Tensor] = []
        self._light: list[Tensor] = []

    def update(self, predictions: Sequence[Any], targets: Sequence[Any], light: Tensor) -> None:
        """Add images; those without a relation are left out."""
        for prediction, target, own in zip(predictions, targets, light.detach().cpu().double(), strict=True):
            if len(target):
                self.metric.update([prediction], [target])
                self._rows.append(self.metric.ranks()[-1])
                self._light.append(own)

    def strata(self) -> list[Stratum]:
        """Give the strata; see StrataCollector."""
        check_filled(len(self._rows), "scene graphs")
        rows = torch.cat(self._rows)
        image = torch.repeat_interleave(torch.tensor([len(r) for r in self._rows]))
        hit = rows[:, 3] < self.k
        images, metric = len(self._rows), f"R@{self.k}"
        each = _table(rows[:, 1], hit, image, len(self.metric.predicates), images)
        whole = _table(torch.zeros_like(rows[:, 1]), hit, image, 1, images)
        found = [Stratum(ALL, ALL, metric, whole, Part((0,)), None, len(rows), "relations", images)]
        present = rows[:, 1].unique().tolist()
        for p in present if len(present) > 1 else ():
            mine = rows[:, 1] == p
            others = Part(tuple(i for i in present if i != p))
            held = len(image[mine].unique())
            name = self.metric.predicates[p]
            found.append(
                Stratum("predicate", name, metric, each, Part((p,)), others, int(mine.sum()), "relations", held)
            )
        if self._known:
            found += self._compositions(rows, hit, image)
        return found + light_strata(whole, (0,), metric, torch.stack(self._light), self.bounds)

    def _compositions(self, rows: Tensor, hit: Tensor, image: Tensor) -> list[Stratum]:
        count = self.metric.count_of(rows)
        parts = {
            "zero-shot": count == 0,
            "rare": (count >= RARE[0]) & (count <= RARE[1]),
            "common": count > RARE[1],
        }
        found = []
        for name, mine in parts.items():
            if mine.any() and not mine.all():
                table = _table((~mine).long(), hit, image, 2, len(self._rows))
                held = len(image[mine].unique())
                members = self._missed(rows[mine & ~hit])
                part, rest = Part((0,)), Part((1,))
                found.append(
                    Stratum(
                        *("composition", name, f"R@{self.k}", table, part, rest, int(mine.sum()), "relations", held),
                        members=members,
                    )
                )
        return found

    def _missed(self, rows: Tensor) -> tuple[str, ...]:
        often = Counter(tuple(row) for row in rows[:, :3].tolist())
        classes, predicates = self.metric.classes, self.metric.predicates
        ordered = sorted(often, key=lambda t: (-often[t], t))[:_SHOWN]
        return tuple(f"{classes[s]}/{predicates[p]}/{classes[o]}" for s, p, o in ordered)


def _table(group: Tensor, hit: Tensor, image: Tensor, groups: int, images: int) -> RatioTable:
    """Hits and totals (N, G) of relations that belong to an image and a group each."""
    place = image * groups + group
    total = torch.bincount(place, minlength=images * groups).view(images, groups)
    return RatioTable(torch.bincount(place, hit.double(), minlength=images * groups).view(images, groups), total)
