"""Measure scene-graph heads on feature maps, by how often training shows a composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..data import Source, collate
from ..heads import GraphLogits
from ..metrics import Figure, SceneGraphMetric
from ..metrics.scene_graph import NEVER, SHOTS
from ..structures import SceneGraph
from ..task import SceneGraphTask
from ..task.map_batch import STRIDE, map_features

__all__ = ["GraphScores", "answer_by_counts", "answer_maps", "arm_tables", "score_graphs"]

TOP = (20, 50, 100)
PARTS = ("", *SHOTS)


@dataclass(frozen=True)
class GraphScores:
    """How well answers name true relations.

    Attributes:
        figures: Recalls by name, see `SceneGraphMetric`; those without graph constraint begin with "ng/".
        recalls: Those of `PARTS` per picture (N, 1), by the same names; NaN where a picture does not count.
    """

    figures: dict[str, float]
    recalls: dict[str, Tensor]


@torch.no_grad()
def answer_maps(head: Any, source: Source, protocol: str = "predcls", batch_size: int = 16) -> list[SceneGraph]:
    """Give the ranked graphs of all samples of a source of format maps.

    Args:
        head: A head for scene graphs, in evaluation mode.
        source: Its boxes are given, and with "predcls" their classes.
        protocol: "predcls" or "sgcls".
        batch_size: Samples per pass.
    """
    task, found = SceneGraphTask(), []
    for begin in range(0, len(source), batch_size):
        samples = [source[i] for i in range(begin, min(begin + batch_size, len(source)))]
        batch = collate(samples, source.heads, source.name)
        graphs = batch.targets["scene_graph"]
        maps = torch.stack(batch.targets["map"])
        whole = [(STRIDE * int(maps.shape[-2]), STRIDE * int(maps.shape[-1]))] * len(graphs)
        asked = task.queries(graphs, None, whole, protocol)
        cells = [meta.get("cells", maps.shape[-2:]) for meta in batch.meta]  # a picture may end before its map
        asked = replace(asked, sizes=[(STRIDE * int(h), STRIDE * int(w)) for h, w in cells])
        logits = head(map_features(maps), asked)
        found += task.decode(logits, graphs[0].predicates, whole, [g.size for g in graphs])
    return found


def answer_by_counts(counts: Tensor, source: Source) -> list[SceneGraph]:
    """Give the graphs that training counts alone would answer, the classes given: no picture is looked at.

    Args:
        counts: (K, K, P + 1) of subject class, object class, none or predicate, as a head's `counts`.
        source: Samples with scene graphs.
    """
    task, found = SceneGraphTask(), []
    share = (counts.float() / counts.sum(2, keepdim=True).clamp(min=1)).clamp(min=1e-9)
    for index in range(len(source)):
        graph = _graph(source, index)
        asked = task.queries([graph], None, [graph.size], "predcls")
        labels = graph.boxes.labels
        pairs = torch.cartesian_prod(torch.arange(len(labels)), torch.arange(len(labels))).reshape(-1, 2)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        edges = share[labels[pairs[:, 0]], labels[pairs[:, 1]]].log()
        logits = GraphLogits([torch.zeros(len(labels), len(counts))], [pairs], [edges], asked)
        found += task.decode(logits, graph.predicates, [graph.size], [graph.size])
    return found


def score_graphs(
    answers: Sequence[SceneGraph],
    source: Source,
    counts: Tensor,
    protocol: str = "predcls",
    scopes: Mapping[str, Sequence[str] | None] | None = None,
    top: Sequence[int] = TOP,
) -> dict[str, GraphScores]:
    """Measure answers against the true graphs of a source, with and without graph constraint.

    Args:
        answers: One for each sample.
        source: Samples with scene graphs.
        counts: (K, K, P + 1) of the training, which tell zero-shot from few-shot.
        protocol: Under which the answers were given.
        scopes: Name to the predicates whose true relations are asked for; the answers are not filtered. None asks for
            all, and gives all figures of `SceneGraphMetric`, and under "pooled/" those over all pictures' relations
            together, the habit on VRD; others give recalls. By default {"all": None}.
        top: The values of K.
    Returns:
        The scores of each scope; their recalls are over the same pictures, those with a relation.
    """
    graphs = [_graph(source, i) for i in range(len(source))]
    names, classes = graphs[0].predicates, graphs[0].boxes.classes
    known = {
        (classes[s], names[p - 1], classes[o]): int(counts[s, o, p]) for s, o, p in counts.nonzero().tolist() if p > 0
    }
    found = {scope: GraphScores({}, {}) for scope in scopes or {"all": None}}
    for prefix, constrained in (("", True), ("ng/", False)):
        metric = SceneGraphMetric(
            classes, names, protocol=protocol, graph_constraint=constrained, top=tuple(top), counts=known
        )
        metric.update(answers, graphs)
        for scope, chosen in (scopes or {"all": None}).items():
            scores = found[scope]
            if chosen is None:
                pooled = metric.compute("relations")
                scores.figures.update({f"{prefix}pooled/{k}": v for k, v in pooled.items() if "_tr" not in k})
                scores.figures.update({f"{prefix}{k}": v for k, v in metric.compute().items()})
            ids = torch.tensor([names.index(p) for p in (names if chosen is None else chosen)])
            for part, table in _recalls(metric, ids, top).items():
                for k, column in zip(top, table.split(1, dim=1), strict=True):
                    name = f"{prefix}{part}R@{k}"
                    scores.recalls[name] = column
                    if not column.isnan().all():
                        scores.figures[name] = float(column.nanmean())
    return found


def arm_tables(metrics: Mapping[str, Any]) -> list[tuple[tuple[str, ...], list[list[str | Figure]]]]:
    """Give the header and rows of two tables, of the arms and of their differences, for `visgen.metrics.fill_table`.

    Args:
        metrics: Of a record: `arms` (arm to "scope/protocol" to figures) and `differences` (pair to figure to
            difference and interval).
    """
    lead = next(iter(metrics["arms"]["counts"]))
    columns = [(lead, f"ng/{k}") for k in ("zsR@20", "zsR@100", "10shotR@100", "R@100")]
    columns += [(g, "ng/R@100") for g in metrics["arms"]["counts"] if g != lead]
    arms: list[list[str | Figure]] = []
    for arm, found in metrics["arms"].items():
        cells = [Figure(("metrics", "arms", arm, *c)) if c[1] in found[c[0]] else "" for c in columns]
        arms.append([arm, *cells])
    differences: list[list[str | Figure]] = []
    for pair, found in metrics["differences"].items():
        for k in found:
            ends = [Figure(("metrics", "differences", pair, k, end)) for end in ("difference", "low", "high")]
            differences.append([pair, k, *ends])
    titles = ("arm", *(f"`{group} {k}`" for group, k in columns))
    return [(titles, arms), (("arms", "figure", "difference", "from", "to"), differences)]


def _recalls(metric: SceneGraphMetric, predicates: Tensor, top: Sequence[int]) -> dict[str, Tensor]:
    """Recall (N, len(top)) of each of `PARTS` in each picture, over relations with these predicates; NaN for none."""
    images = metric.ranks()
    found = {part: torch.full((len(images), len(top)), torch.nan, dtype=torch.float64) for part in PARTS}
    for number, rows in enumerate(images):
        rows = rows[torch.isin(rows[:, 1], predicates)]
        if len(rows) == 0:
            continue
        hit = (rows[:, 3, None] < torch.tensor(tuple(top))).double()
        count = metric.count_of(rows)
        for part, (low, high) in {"": (0, NEVER), **SHOTS}.items():
            inside = (count >= low) & (count <= high)
            if inside.any():
                found[part][number] = hit[inside].mean(0)
    return found


def _graph(source: Any, index: int) -> SceneGraph:
    """The graph of a sample, without reading its map where the source can."""
    graph: SceneGraph = source.graph_of(index) if hasattr(source, "graph_of") else source[index].targets["scene_graph"]
    return graph
