"""Batches of feature maps with scene graphs, as heads and makers of maps read them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..data import Batch
from ..errors import DataError
from ..gan.compositional import GraphBatch
from ..heads import GraphQueries
from ..structures import SceneGraph
from ..structures.features import Features
from .scene_graph import SceneGraphTask, training_pairs

__all__ = ["STRIDE", "MapBatch", "map_features", "read_maps"]

STRIDE = 16


@dataclass(frozen=True)
class MapBatch:
    """What a batch shows.

    Attributes:
        maps: (B, C, h, w) of stride 16.
        queries: What to ask of them; boxes in pixels of the network.
        graphs: The true graphs; boxes in pixels of the kept pictures.
        ids: Name of each picture, its source's in front.
        cells: (B, 2) rows and columns of the map that each picture fills.
    """

    maps: Tensor
    queries: GraphQueries
    graphs: list[SceneGraph]
    ids: tuple[str, ...]
    cells: Tensor

    def flat(self) -> GraphBatch:
        """Give all graphs in flat tensors, boxes in cells; of several predicates of a pair, one at random."""
        ends, predicates, first = [], [], 0
        for graph, pairs in zip(self.graphs, self.queries.pairs or [], strict=True):
            ends.append(pairs + first)
            predicates.append(_one_predicate(graph, pairs))
            first += len(graph.boxes)
        sizes = torch.tensor([len(g.boxes) for g in self.graphs])
        return GraphBatch(
            torch.cat(list(self.queries.xyxy)) / STRIDE,
            torch.cat([g.boxes.labels for g in self.graphs]),
            torch.repeat_interleave(torch.arange(len(sizes)), sizes).to(self.maps.device),
            torch.cat(ends),
            torch.cat(predicates),
            self.cells,
            (int(self.maps.shape[-2]), int(self.maps.shape[-1])),
            self.ids,
        )


def read_maps(batch: Batch, task: SceneGraphTask, told: bool = False, pairs: int = 0) -> MapBatch:
    """Read a batch of format maps.

    Args:
        batch: Pictures with "map" and "scene_graph".
        task: Asks the questions.
        told: Give the head every box's class; else the task decides.
        pairs: Most pairs of a picture that are asked for, related ones first; 0 leaves it to the task.
    Raises:
        DataError: A picture without a map or a graph.
    """
    maps, graphs = batch.targets.get("map", []), batch.targets.get("scene_graph", [])
    if len(maps) != len(batch) or len(graphs) != len(batch) or any(v is None for v in (*maps, *graphs)):
        raise DataError(
            f"a batch of '{batch.source}' has pictures without a feature map or a scene graph; use data of format "
            "maps, which visgen.engine.write_maps makes of any source with scene graphs."
        )
    stacked = torch.stack(list(maps))
    scale = STRIDE * stacked.shape[-1] / batch.images.shape[-1]  # pixels of the network in one of the kept picture
    asked = task.training_queries(graphs)
    cells = [tuple(meta.get("cells", stacked.shape[-2:])) for meta in batch.meta]
    asked = replace(
        asked,
        xyxy=[x * scale for x in asked.xyxy],
        labels=[g.boxes.labels for g in graphs] if told else asked.labels,
        pairs=[training_pairs(g, pairs) for g in graphs] if pairs else asked.pairs,
        sizes=[(STRIDE * int(h), STRIDE * int(w)) for h, w in cells],
    )
    ids = tuple(f"{meta.get('source', batch.source)}/{meta['id']}" for meta in batch.meta)
    return MapBatch(stacked, asked, list(graphs), ids, torch.tensor(cells, device=stacked.device).reshape(-1, 2))


def map_features(maps: Tensor) -> Features:
    """Give Features with the stride-16 map alone, and an empty finer one that tells the picture's size."""
    size = (len(maps), 1, 4 * maps.shape[-2], 4 * maps.shape[-1])
    return Features({16: maps, 4: maps.new_zeros(()).expand(size)}, maps.mean(dim=(2, 3)))


def _one_predicate(graph: SceneGraph, pairs: Tensor) -> Tensor:
    """(m,): the predicate of each pair plus 1, one of several at random, 0 for none."""
    n = len(graph.boxes)
    table = graph.triplets.new_zeros(n * n)
    order = torch.randperm(len(graph)).to(graph.triplets.device)
    for subject, target, predicate in graph.triplets[order].tolist():
        table[subject * n + target] = predicate + 1
    return table[pairs[:, 0] * n + pairs[:, 1]]
