"""Iterative message passing on one map of stride 16: a scene-graph head that reads pooled regions, real or made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from ..errors import ConfigError
from ..nn.pair_geometry import pair_masks
from .protocol import HEADS, Features, Head
from .scene_graph import GraphLogits, GraphQueries, exchange_messages, flat_queries

__all__ = ["MapGraphHead"]

STRIDE = 16


@HEADS.register("scene_graph_map")
class MapGraphHead(Head):
    """Logits of boxes and of ordered pairs of boxes, from their regions of the stride-16 map alone.

    A box is read from its region, a pair from the region of the union and a drawing of both boxes; then boxes and pairs
    exchange messages. No class embedding and no frequency bias: the class of a box is found, never read, so that a
    predicate is not guessed from the names of its ends. `pool` and `read` are the two halves of `forward`; whoever
    makes maps (`visgen.gan.compositional`) calls them one by one.

    Args:
        channels, token_dim: See Head; the vector of the picture is not read.
        outputs: Number P of predicates.
        objects: Number K of box classes.
        state: Width of the states.
        rounds: Rounds of messages.
        cells: Side of a pooled region, at least 3.
        dropout: Share of the states dropped before the last layers in training.
    Raises:
        ConfigError: An option outside its range.
    Source: Xu et al. 2017, arXiv:1701.02426, as re-implemented for Zellers et al. 2018, arXiv:1711.06640. Narrower,
        with group norm, and with a drawing that keeps where the boxes lie in their union.
    """

    counts: Tensor

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int,
        objects: int,
        state: int = 128,
        rounds: int = 3,
        cells: int = 7,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if state % 8 or state < 8 or rounds < 0 or cells < 3:
            raise ConfigError(
                f"scene_graph_map has state {state}, rounds {rounds} and cells {cells}; use a multiple of 8, 0 or "
                "more, and 3 or more."
            )
        width = channels[STRIDE]
        self.objects, self.rounds, self.cells = objects, rounds, cells
        self.node_region, self.edge_region = _encoder(width, cells, state), _encoder(width, cells, state)
        self.draw = nn.Sequential(
            nn.Conv2d(2, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, width, 3, padding=1), nn.ReLU()
        )
        self.node_unit, self.edge_unit = nn.GRUCell(state, state), nn.GRUCell(state, state)
        self.gates = nn.ModuleList(nn.Linear(2 * state, 1) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        self.name, self.predicate = nn.Linear(state, objects), nn.Linear(state, outputs + 1)
        self.register_buffer("counts", torch.zeros(objects, objects, outputs + 1, dtype=torch.int32))

    def learn_counts(self, table: Tensor) -> None:
        """Take over how often training shows (subject class, object class, "none" or predicate): (K, K, P + 1)."""
        self.counts.copy_(table)

    def forward(self, features: Features, queries: Any = None) -> Any:
        if not isinstance(queries, GraphQueries):
            raise ConfigError(
                f"a scene-graph head got {type(queries).__name__} as queries; give GraphQueries: it scores relations "
                "between boxes, which a detection head or the targets supply."
            )
        boxes, ends, image, _ = flat_queries(queries, features.token.device)
        nodes, edges = self.pool(features.pyramid[STRIDE], boxes, ends, image)
        return self.read(nodes, edges, queries)

    def pool(self, maps: Tensor, boxes: Tensor, ends: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Cut regions out of maps.

        Args:
            maps: (B, C, h, w) of stride 16.
            boxes: Corners (n, 4) in pixels of the network.
            ends: (M, 2) int64 into `boxes`.
            image: Image (n,) int64 of each box.
        Returns:
            Regions (n, C, s, s) of the boxes, and (M, C, s, s) of the unions of the pairs.
        """
        nodes = self._region(maps, boxes, image)
        low, high = ends.amin(1), ends.amax(1)
        # both orders of a pair have one union: pool it once
        code, back = torch.unique(low * len(boxes) + high, return_inverse=True)
        first, second = code // max(len(boxes), 1), code % max(len(boxes), 1)
        a, b = boxes[first], boxes[second]
        union = torch.cat([torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])], dim=1)
        return nodes, self._region(maps, union, image[first])[back]

    def read(self, nodes: Tensor, edges: Tensor, queries: GraphQueries) -> GraphLogits:
        """Give the logits of pooled regions, as `pool` gives them for the same queries."""
        boxes, ends, _, pairs = flat_queries(queries, nodes.device)
        drawn = self.draw(pair_masks(boxes[ends[:, 0]], boxes[ends[:, 1]], 2 * self.cells) - 0.5)
        node, edge = self.node_region(nodes).float(), self.edge_region(edges + drawn.to(edges.dtype)).float()
        node, edge = self.node_unit(node, torch.zeros_like(node)), self.edge_unit(edge, torch.zeros_like(edge))
        for _ in range(self.rounds):
            node, edge = exchange_messages(node, edge, ends, self.gates, self.node_unit, self.edge_unit)
        names, predicates = self.name(self.dropout(node)).float(), self.predicate(self.dropout(edge)).float()
        sizes, counts = [len(x) for x in queries.xyxy], [len(p) for p in pairs]
        return GraphLogits(list(names.split(sizes)), pairs, list(predicates.split(counts)), queries)

    def _region(self, maps: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
        rows = torch.cat([image[:, None].to(torch.float32), boxes], dim=1)
        # the operator has no 16-bit form on every device
        return roi_align(maps.float(), rows, self.cells, 1.0 / STRIDE, sampling_ratio=2, aligned=True)


def _encoder(width: int, cells: int, state: int) -> nn.Sequential:
    half = -(-cells // 2)
    return nn.Sequential(
        nn.Conv2d(width, state // 2, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(4, state // 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(state // 2 * half * half, state),
        nn.ReLU(),
    )
