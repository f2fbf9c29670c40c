"""Scene graphs: relations between the boxes of an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms

from ..data import triplet_counts
from ..errors import ConfigError, DataError
from ..heads.figure import figure_targets
from ..heads.scene_graph import GraphLogits, GraphQueries, all_pairs
from ..losses import EDGE_NORMS, edge_loss, edge_targets
from ..metrics import SceneGraphMetric
from ..metrics.strata import SceneGraphStrata
from ..options import build_options, call_with
from ..structures import Boxes, Masks, SceneGraph, pairwise_iou
from .protocol import TASKS, HeadSpec, Task

__all__ = ["SceneGraphLossOptions", "SceneGraphTask", "training_pairs"]

MOST_NODES = 12  # boxes of a detector between which relations are scored: 132 pairs
SURE = (0.2, 0.05, 0.01)  # least scores of those boxes, each tried where the one before leaves fewer than two
SAME_PLACE = 0.5  # IoU above which two boxes are taken for one thing, named twice
MOST_PAIRS = 1024  # pairs per image in training, relations first
KEPT = 300  # triplets of an answer per image, of all and of those under the graph constraint


@dataclass(frozen=True)
class SceneGraphLossOptions:
    """Options of the scene-graph loss.

    Attributes:
        norm: How edges are normalised, see `visgen.losses.edge_loss`.
        node_weight: Weight of the mean cross entropy of the box classes; 0 for a head without pixels.
        figure_weight: Weight of the mean cross entropy of the cells of masks, over the boxes that have a true one.
    """

    norm: str = "dnorm"
    node_weight: float = 1.0
    figure_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.norm not in EDGE_NORMS:
            raise ConfigError(f"norm of the scene-graph loss is '{self.norm}'; use one of {', '.join(EDGE_NORMS)}.")


class SceneGraphTask(Task):
    """Targets and answers are SceneGraph; the boxes come from a detection head, or from the target under a protocol.

    In training the head is given the true boxes, mostly with their labels and sometimes without, so that it learns both
    to rely on labels and to do without. Where a sample has "masks" in step with the boxes, the head's masks learn from
    them. In use, every pair with every predicate competes; an answer holds the `KEPT` best triplets, and the `KEPT`
    best of those that `SceneGraph.constrained` leaves, one predicate per pair.

    Attributes:
        labelled: Share of the images that come with the labels of their boxes in training.
    """

    labelled: ClassVar[float] = 0.75

    key = "scene_graph"
    head = "scene_graph"
    stands_on = "detection"
    protocols = ("predcls", "sgcls", "sggen")
    unaided = "sggen"

    def head_options(self, below: HeadSpec | None) -> dict[str, Any]:
        return {} if below is None else {"objects": len(below.classes)}

    def class_counts(self, targets: Sequence[SceneGraph], classes: Sequence[str]) -> Tensor:
        rows = [target.triplets[:, 2] for target in targets]
        joined = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int64)
        return torch.bincount(joined, minlength=len(classes)).to(torch.float64)

    def learn_counts(self, head: Any, sources: Sequence[Any], below: HeadSpec | None) -> None:
        if below is None or not hasattr(head, "learn_counts"):
            return
        predicates = tuple(sources[0].classes[self.key])
        ids = {name: i for i, name in enumerate(below.classes)}
        table = torch.zeros(len(below.classes), len(below.classes), len(predicates) + 1, dtype=torch.int32)
        for source in sources:
            table[..., 0] += _pairs_without(source, ids)
            for (subject, predicate, target), count in triplet_counts(source).items():
                table[ids[subject], ids[target], predicates.index(predicate) + 1] += count
        head.learn_counts(table)

    def training_queries(
        self,
        targets: Sequence[SceneGraph | None],
        beside: Mapping[str, Sequence[Any]] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> GraphQueries:
        xyxy, labels, pairs = [], [], []
        for target in targets:
            xyxy.append(torch.zeros(0, 4) if target is None else target.boxes.xyxy)
            given = target is not None and bool(torch.rand(()) < self.labelled)
            labels.append(target.boxes.labels if given else None)  # type: ignore[union-attr]
            pairs.append(torch.zeros(0, 2, dtype=torch.int64) if target is None else training_pairs(target))
        masks = (beside or {}).get("masks") or [None] * len(targets)
        own = [_own_masks(*pair) for pair in zip(targets, masks, strict=True)]
        return GraphQueries(xyxy, labels, pairs, sizes=sizes, masks=own)

    def loss(
        self, logits: GraphLogits, targets: Sequence[Any], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        chosen = build_options(SceneGraphLossOptions, options, "scene-graph loss")
        wanted, edges, nodes, names = [], [], [], []
        for i, target in enumerate(targets):
            if target is None:
                continue
            pairs, triplets = logits.pairs[i], target.triplets.to(logits.pairs[i].device)
            wanted.append(edge_targets(pairs, triplets, len(target.boxes), len(target.predicates)))
            edges.append(logits.edges[i])
            nodes.append(logits.nodes[i])
            names.append(target.boxes.labels.to(pairs.device))
        weighted = None if weights is None else torch.cat([weights.new_ones(1), weights.float()])
        total = edge_loss(torch.cat(edges), torch.cat(wanted), chosen.norm, weighted)
        if chosen.node_weight and sum(map(len, nodes)):
            total = total + chosen.node_weight * F.cross_entropy(torch.cat(nodes), torch.cat(names))
        if chosen.figure_weight and logits.figures is not None:
            total = total + chosen.figure_weight * _figure_loss(logits)
        return total

    def queries(
        self, below: Sequence[Any], logits: Any, valid: Sequence[tuple[int, int]], protocol: str = ""
    ) -> GraphQueries:
        boxes = [target.boxes for target in below] if protocol else [_surest(found) for found in below]
        scaled = [
            one.xyxy * one.xyxy.new_tensor([inside[1] / one.size[1], inside[0] / one.size[0]]).repeat(2)
            for one, inside in zip(boxes, valid, strict=True)
        ]
        return GraphQueries(
            scaled,
            [None if protocol == "sgcls" else one.labels for one in boxes],
            scores=[None if protocol else one.scores for one in boxes],
            classes=boxes[0].classes if boxes else (),
            sizes=[(int(h), int(w)) for h, w in valid],
        )

    def decode(
        self,
        logits: GraphLogits,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
    ) -> list[SceneGraph]:
        return [
            _decode_one(logits, i, tuple(classes), inside, size)
            for i, (inside, size) in enumerate(zip(valid, sizes, strict=True))
        ]

    def metric(self, classes: Sequence[str], *, objects: Sequence[str] = (), **options: Any) -> SceneGraphMetric:
        return call_with(SceneGraphMetric, options, "it", tuple(objects), tuple(classes))

    def strata(self, classes: Sequence[str], *, objects: Sequence[str] = (), **options: Any) -> SceneGraphStrata:
        return SceneGraphStrata(tuple(objects), tuple(classes), **options)

    def seen_options(self, options: Mapping[str, Any], sources: Sequence[Any]) -> dict[str, Any]:
        counts = sum((triplet_counts(source) for source in sources), Counter(options.get("counts") or {}))
        return {**options, "counts": counts}

    def metric_options(
        self, head: Any, classes: Sequence[str], below: HeadSpec | None, protocol: str
    ) -> dict[str, Any]:
        if below is None:
            return {}
        counts = {
            (below.classes[s], classes[p - 1], below.classes[o]): int(head.counts[s, o, p])
            for s, o, p in head.counts.nonzero().tolist()
            if p > 0
        }
        return {"objects": below.classes, "counts": counts}


def _own_masks(target: SceneGraph | None, masks: Masks | None) -> Tensor | None:
    """The masks (n, H, W) of the boxes of a graph."""
    if target is None or masks is None:
        return None
    if len(masks) != len(target.boxes):
        raise DataError(
            f"a scene graph has {len(target.boxes)} boxes but {len(masks)} masks; they must be in step: let the graph "
            "share the boxes of 'detection'."
        )
    return masks.masks


def _figure_loss(logits: GraphLogits) -> Tensor:
    """Mean cross entropy of the cells of all masks that are known; zero with a gradient where none is."""
    found = logits.figures or []
    known = [i for i, masks in enumerate(logits.queries.masks or []) if masks is not None and len(masks)]
    if not known:
        return torch.cat(found).sum() * 0.0
    device = found[0].device
    wanted = [
        figure_targets(logits.queries.masks[i].to(device), logits.queries.xyxy[i].to(device))  # type: ignore[index,union-attr]
        for i in known
    ]
    return F.binary_cross_entropy_with_logits(torch.cat([found[i] for i in known]), torch.cat(wanted))


def training_pairs(target: SceneGraph, most: int = MOST_PAIRS) -> Tensor:
    """Give all ordered pairs (m, 2), or the related ones and a random part of the others where there are too many."""
    pairs = all_pairs(len(target.boxes), target.triplets.device)
    if len(pairs) <= most:
        return pairs
    count = len(target.boxes)
    related = torch.isin(pairs[:, 0] * count + pairs[:, 1], target.triplets[:, 0] * count + target.triplets[:, 1])
    order = torch.cat([related.nonzero()[:, 0], (~related).nonzero()[:, 0][torch.randperm(int((~related).sum()))]])
    return pairs[order[:most]]


def _surest(found: Boxes) -> Boxes:
    """The boxes of a detector between which relations are looked for, one for each place whatever its class."""
    if found.scores is None:
        return found
    order = nms(found.xyxy, found.scores, SAME_PLACE)[:MOST_NODES]  # the surest first
    for least in SURE:
        kept = order[found.scores[order] >= least]
        if len(kept) >= 2:
            break
    return found.select(kept)


def _decode_one(
    logits: GraphLogits, index: int, predicates: tuple[str, ...], inside: tuple[int, int], size: tuple[int, int]
) -> SceneGraph:
    asked = logits.queries
    xyxy = asked.xyxy[index].float()
    xyxy = xyxy * xyxy.new_tensor([size[1] / inside[1], size[0] / inside[0]]).repeat(2)
    labels, scores = asked.labels[index], None if asked.scores is None else asked.scores[index]
    if labels is None:
        best = logits.nodes[index].softmax(1).max(dim=1)
        scores, labels = best.values, best.indices
    boxes = Boxes(xyxy, labels, (int(size[0]), int(size[1])), asked.classes, scores=scores)
    probabilities = logits.edges[index].softmax(1)[:, 1:]
    return SceneGraph.from_pairs(boxes, logits.pairs[index], probabilities, predicates).leading(KEPT)


def _pairs_without(source: Any, ids: Mapping[str, int]) -> Tensor:
    """Count the ordered pairs of overlapping boxes without a relation, by their classes (K, K), each plus one.

    Source: the background count of Zellers et al. 2018, arXiv:1711.06640.
    """
    table = torch.ones(len(ids), len(ids), dtype=torch.int32)
    for index in range(len(source)):
        graph = source.graph_of(index) if hasattr(source, "graph_of") else source[index].targets["scene_graph"]
        for name in graph.boxes.classes:
            if name not in ids:
                raise DataError(
                    f"source '{source.name}' has the class '{name}', but the detection head below knows {len(ids)} "
                    "others; let the reader bring the boxes into that label set."
                )
        place = torch.tensor([ids[name] for name in graph.boxes.classes])
        pairs = all_pairs(len(graph.boxes))
        count = len(graph.boxes)
        related = torch.isin(pairs[:, 0] * count + pairs[:, 1], graph.triplets[:, 0] * count + graph.triplets[:, 1])
        touching = pairwise_iou(graph.boxes.xyxy, graph.boxes.xyxy)[pairs[:, 0], pairs[:, 1]] > 0
        rest = place[graph.boxes.labels[pairs[touching & ~related]]]
        table.index_put_((rest[:, 0], rest[:, 1]), torch.ones(len(rest), dtype=torch.int32), accumulate=True)
    return table


TASKS.register("scene_graph")(SceneGraphTask())
