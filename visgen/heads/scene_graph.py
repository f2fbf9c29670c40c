"""Scene-graph head: what boxes show, how they lie, and messages between them give labels and predicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..nn.pair_contact import CONTACT, contacts, paste_masks
from ..nn.pair_geometry import GEOMETRY, pair_geometry, pair_masks
from .figure import FIGURE, FigureBranch, pool_cells
from .protocol import HEADS, Features, Head
from .pyramid_decoder import conv_block, resize_like

__all__ = ["GraphLogits", "GraphQueries", "SceneGraphHead", "all_pairs", "exchange_messages", "flat_queries"]

CELLS = FIGURE // 2  # side of what names a box: means of four cells of its figure, as RoIAlign with 2 x 2 samples
MASK = 27  # side of the drawing of a pair
OWN = 5  # numbers of where a box lies
_FROM_SUBJECT = torch.tensor([True, False, True, False])  # which end of a pair each gate reads
SIGHT = ("embed", "lateral16", "context", "lateral8", "lateral4", "fuse", "figure")  # what figures are told from
LEAST = 1e-3  # added to a predicate's share before its logarithm


@dataclass(frozen=True)
class GraphQueries:
    """The boxes of a batch between which relations are asked.

    Attributes:
        xyxy: Per image, corners (n, 4) in pixels of the batch.
        labels: Per image, classes (n,) int64, or None where the head has to find them.
        pairs: Per image, the ordered pairs (m, 2) int64 to score, subject and object index; None takes all.
        scores: Per image, how sure each box is (n,), or None; the head does not read it.
        classes: Names of the box classes; the head does not read them.
        sizes: (H, W) in pixels of each image inside the batch; None where no image is padded.
        masks: Per image, the true masks (n, H, W) bool, or None; for the loss, the head does not read them.
    """

    xyxy: Sequence[Tensor]
    labels: Sequence[Tensor | None]
    pairs: Sequence[Tensor] | None = None
    scores: Sequence[Tensor | None] | None = None
    classes: tuple[str, ...] = ()
    sizes: Sequence[tuple[int, int]] | None = None
    masks: Sequence[Tensor | None] | None = None


@dataclass(frozen=True)
class GraphLogits:
    """What the head says about the boxes and pairs of a batch.

    Attributes:
        nodes: Per image, class logits (n, K).
        pairs: Per image, (m, 2) int64.
        edges: Per image, predicate logits (m, P + 1); column 0 is "no relation".
        queries: What was asked.
        figures: Per image, mask logits (n, s, s) that fill each box, or None from a head without them.
    """

    nodes: list[Tensor]
    pairs: list[Tensor]
    edges: list[Tensor]
    queries: GraphQueries
    figures: list[Tensor] | None = None


@HEADS.register("scene_graph")
class SceneGraphHead(Head):
    """Logits of boxes and of ordered pairs of boxes, for any number of boxes per image.

    A box is named from RoIAlign on one fused map, and its figure is told from the ground around it; both need their own
    loss. A pair is seen through how its boxes lie and how their figures touch. Box and pair states then exchange
    messages: each pair pools its two boxes, each box its pairs, through gates and recurrent units shared by all rounds.
    Predicates are read from the pair's state, the states of its boxes and, once more, how they lie and touch.

    Args:
        channels, token_dim: See Head.
        outputs: Number P of predicates.
        objects: Number K of box classes.
        width: Channels of the fused map at stride 8, a multiple of 16.
        state: Width of the states.
        rounds: Rounds of messages.
        label_width: Width of the class embedding that joins a box's state; 0 leaves labels out, as the source does.
            A box whose class is not given is embedded by its own predicted distribution.
        pixels: False blinds the head: boxes and labels only, the yardstick of what pixels add.
        figures: Tell figure from ground and read how the figures of a pair touch. Masks are only learnt where samples
            have them; leave figures out where none has.
        appearance: Let the pixels of a box, and those of the union of a pair with a drawing of both boxes, join the
            states, as the source does. On 300 pictures it brought nothing and doubled the time of a step.
        frequency_bias: Add the logarithm of how often training shows each predicate between these two classes.
        dropout: Share of states dropped before the last layer in training.
    Raises:
        ConfigError: An option outside its range.
    Source: Xu et al. 2017, arXiv:1701.02426 (message passing) as re-implemented for Zellers et al. 2018,
        arXiv:1711.06640 (drawing of the pair, frequency bias). The class embedding, the geometry features, figures and
        their touch, group norm and one shared map are ours.
    """

    counts: Tensor

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int,
        objects: int,
        width: int = 64,
        state: int = 128,
        rounds: int = 3,
        label_width: int = 64,
        pixels: bool = True,
        figures: bool = True,
        appearance: bool = False,
        frequency_bias: bool = False,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % 16 or rounds < 0 or label_width < 0:
            raise ConfigError(
                f"scene-graph head has width {width}, rounds {rounds} and label_width {label_width}; use a multiple "
                "of 16, and 0 or more."
            )
        if label_width == 0 and not (pixels and appearance):
            raise ConfigError(
                "a scene-graph head without appearance needs label_width above 0: it would know no class."
            )
        self.objects, self.rounds, self.frequency_bias = objects, rounds, frequency_bias
        self.pixels, self.appearance = pixels, pixels and appearance
        self.embed = nn.Linear(objects, label_width, bias=False) if label_width else None
        self.figure: FigureBranch | None = None
        if pixels:
            self.lateral16 = nn.Conv2d(channels[16], width, 1)
            self.context = nn.Linear(token_dim, width)
            self.lateral8 = nn.Conv2d(channels[8], width, 1)
            self.lateral4 = nn.Conv2d(channels[4], width, 1)
            self.fuse = conv_block(width, width)
            self.node_roi = _roi_encoder(width, state)
            self.guess = nn.Linear(state, objects)
            if figures:
                self.figure = FigureBranch((width, channels[4]), label_width + OWN)
        if self.appearance:
            self.edge_roi = _roi_encoder(width, state)
            self.draw = nn.Sequential(
                nn.Conv2d(2, width // 2, 7, stride=2, padding=3),
                nn.ReLU(inplace=True),
                nn.GroupNorm(8, width // 2),
                nn.MaxPool2d(3, stride=2, padding=1),
                nn.Conv2d(width // 2, width, 3, padding=1),
                nn.ReLU(inplace=True),
            )
        seen = state if self.appearance else 0
        lie = GEOMETRY + (CONTACT if self.figure is not None else 0)
        self.node_in = nn.Linear(seen + label_width + OWN, state)
        self.edge_in = nn.Linear(seen + lie, state)
        self.node_unit, self.edge_unit = nn.GRUCell(state, state), nn.GRUCell(state, state)
        self.gates = nn.ModuleList(nn.Linear(2 * state, 1) for _ in range(4))
        self.dropout = nn.Dropout(dropout)
        self.refine = nn.Linear(state, objects)
        self.mix = nn.Linear(3 * state + lie, state)
        self.predicate = nn.Linear(state, outputs + 1)
        self.register_buffer("counts", torch.zeros(objects, objects, outputs + 1, dtype=torch.int32))

    def learn_counts(self, table: Tensor) -> None:
        """Take over how often training shows (subject class, object class, "none" or predicate): (K, K, P + 1)."""
        self.counts.copy_(table)

    def take_sight(self, other: SceneGraphHead | None) -> None:
        """Copy the class embedding and what tells figures from a head of equal shape, and fix it; None: do nothing."""
        for name in SIGHT:
            own, given = getattr(self, name, None), getattr(other, name, None)
            if own is not None and given is not None:
                own.load_state_dict(given.state_dict())
                own.requires_grad_(False)

    def forward(self, features: Features, queries: Any = None) -> Any:
        if not isinstance(queries, GraphQueries):
            raise ConfigError(
                f"a scene-graph head got {type(queries).__name__} as queries; give GraphQueries: it scores relations "
                "between boxes, which a detection head or the targets supply."
            )
        device = features.token.device
        sizes = [len(x) for x in queries.xyxy]
        boxes, ends, image, pairs = flat_queries(queries, device)
        counts = [len(p) for p in pairs]
        whole = tuple(4 * n for n in features.pyramid[4].shape[-2:])
        full = torch.tensor(queries.sizes or [whole] * len(sizes), dtype=torch.float32, device=device)  # (B, 2)
        nodes, edges, figures = self._states(features, queries, boxes, ends, image, full)
        return GraphLogits(
            list(nodes.float().split(sizes)),
            pairs,
            list(edges.float().split(counts)),
            queries,
            None if figures is None else list(figures.split(sizes)),
        )

    def _states(
        self,
        features: Features,
        queries: GraphQueries,
        boxes: Tensor,
        ends: Tensor,
        image: Tensor,
        full: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        subject, target = ends.unbind(1)
        lie = pair_geometry(boxes, ends, image, full)  # (M, GEOMETRY)
        own = _box_geometry(boxes, full[image])  # (n, OWN)
        seen_nodes, seen_edges = [], []
        guessed = boxes.new_zeros(len(boxes), self.objects)
        if self.pixels:
            fused = self._fused(features)
            cells = pool_cells(fused, 8, boxes, image)
            seen = self.node_roi(F.avg_pool2d(cells, 2))
            guessed = self.guess(seen)
            if self.appearance:
                seen_nodes, seen_edges = [seen], [self._pair_features(fused, boxes, ends, image)]
        known = torch.cat(
            [
                boxes.new_full((len(x),), -1).long() if labels is None else labels.to(boxes.device)
                for x, labels in zip(queries.xyxy, queries.labels, strict=True)
            ]
        )
        is_known = known >= 0
        belief = torch.where(
            is_known[:, None],
            F.one_hot(known.clamp(min=0), self.objects).to(torch.float32),
            guessed.detach().float().softmax(1),
        )
        told = own if self.embed is None else torch.cat([own, self.embed(belief).float()], dim=1)
        figures = None
        if self.figure is not None:
            figures = self.figure((cells, pool_cells(features.pyramid[4], 4, boxes, image)), told)
            lie = torch.cat([lie, _touch(figures, boxes, ends)], dim=1)
        node_parts, edge_parts = [*seen_nodes, told], [*seen_edges, lie]
        node = torch.relu(self.node_in(torch.cat([p.float() for p in node_parts], dim=1)))
        edge = torch.relu(self.edge_in(torch.cat([p.float() for p in edge_parts], dim=1)))
        node = self.node_unit(node.float(), torch.zeros_like(node))
        edge = self.edge_unit(edge.float(), torch.zeros_like(edge))
        for _ in range(self.rounds):
            node, edge = exchange_messages(node, edge, ends, self.gates, self.node_unit, self.edge_unit)
        last = torch.cat([edge, node[subject], node[target], lie], dim=1)
        logits = self.predicate(self.dropout(torch.relu(self.mix(last))))
        if self.frequency_bias:
            table = self.counts.float()
            share = table / table.sum(2, keepdim=True).clamp(min=1)
            label = torch.where(is_known, known, belief.argmax(1))
            logits = logits + (share[label[subject], label[target]] + LEAST).log()
        # Where the class is given, its state knows it, so only what the pixels say is scored as a guess.
        classes = guessed + torch.where(is_known[:, None], 0.0, 1.0) * self.refine(self.dropout(node))
        return classes, logits, figures

    def _fused(self, features: Features) -> Tensor:
        pyramid = features.pyramid
        x = self.lateral16(pyramid[16])
        x = x + self.context(features.token.to(x.dtype))[:, :, None, None]
        x = resize_like(x, pyramid[8]) + self.lateral8(pyramid[8])
        # pooled first: a 1x1 convolution commutes with a mean, and has a quarter of the cells then
        fine = F.avg_pool2d(pyramid[4], 2, ceil_mode=True, count_include_pad=False)
        return self.fuse(x + self.lateral4(fine))

    def _pair_features(self, fused: Tensor, boxes: Tensor, ends: Tensor, image: Tensor) -> Tensor:
        subject, target = ends.unbind(1)
        low, high, back = _unordered(ends, len(boxes))
        pooled = F.avg_pool2d(pool_cells(fused, 8, _union(boxes[low], boxes[high]), image[low]), 2)
        drawn = self.draw(pair_masks(boxes[subject], boxes[target], MASK) - 0.5)
        return self.edge_roi(pooled[back] + drawn.to(pooled.dtype))


def flat_queries(queries: GraphQueries, device: torch.device) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Give the boxes (n, 4) of a batch, its pairs (M, 2) into them, the image (n,) of each, and the pairs per image."""
    sizes = [len(x) for x in queries.xyxy]
    pairs = (
        [p.to(device) for p in queries.pairs] if queries.pairs is not None else [all_pairs(n, device) for n in sizes]
    )
    first = [sum(sizes[:i]) for i in range(len(sizes))]
    boxes = torch.cat([x.to(device, torch.float32) for x in queries.xyxy])
    ends = torch.cat([p + start for p, start in zip(pairs, first, strict=True)])
    image = torch.repeat_interleave(torch.arange(len(sizes), device=device), torch.tensor(sizes, device=device))
    return boxes, ends, image, pairs


def exchange_messages(
    node: Tensor, edge: Tensor, ends: Tensor, gates: nn.ModuleList, node_unit: nn.GRUCell, edge_unit: nn.GRUCell
) -> tuple[Tensor, Tensor]:
    """One round of messages between boxes and pairs, all from the old states.

    Args:
        node, edge: States (n, D) and (M, D).
        ends: (M, 2) int64, subject and object of each pair.
        gates: Four layers from (M, 2 D) to (M, 1): what a pair takes from its subject and its object, and what it gives
            to them.
        node_unit, edge_unit: Recurrent units of the states.
    """
    subject, target = ends.unbind(1)
    # a gate is linear in both states: each box and each pair pays its part once, and no (M, 2 D) is written
    weight, bias = torch.cat([g.weight for g in gates]), torch.cat([g.bias for g in gates])  # type: ignore[misc]
    width = node.shape[1]
    ends_say = F.linear(node, weight[:, :width])  # (n, 4)
    of_ends = torch.where(_FROM_SUBJECT.to(node.device), ends_say[subject], ends_say[target])
    w = torch.sigmoid(of_ends + F.linear(edge, weight[:, width:], bias))  # (M, 4)
    inbox = torch.zeros_like(node).index_add(0, subject, (w[:, 2:3] * edge).to(node.dtype))
    inbox = inbox.index_add(0, target, (w[:, 3:4] * edge).to(node.dtype))
    taken = w[:, 0:1] * node[subject] + w[:, 1:2] * node[target]
    return node_unit(inbox, node), edge_unit(taken.to(edge.dtype), edge)


def all_pairs(count: int, device: torch.device | None = None) -> Tensor:
    """Give the ordered pairs (n (n - 1), 2) of `count` boxes, subject first."""
    index = torch.arange(count, device=device)
    pairs = torch.cartesian_prod(index, index).reshape(-1, 2)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _roi_encoder(width: int, state: int) -> nn.Sequential:
    half = -(-CELLS // 2)
    return nn.Sequential(
        nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(8, width),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(width * half * half, state),
        nn.ReLU(inplace=True),
    )


def _union(a: Tensor, b: Tensor) -> Tensor:
    """The smallest boxes (M, 4) around two each."""
    return torch.cat([torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])], dim=1)


def _touch(figures: Tensor, boxes: Tensor, ends: Tensor) -> Tensor:
    """(M, CONTACT): how the figures of each pair touch. What relations want does not bend the masks."""
    shapes = torch.sigmoid(figures.detach())
    low, high, back = _unordered(ends, len(boxes))
    both = torch.cat([low, high])
    drawn = paste_masks(shapes[both], boxes[both], _union(boxes[low], boxes[high]).repeat(2, 1), MASK)
    forth, reverse = contacts(*drawn.chunk(2))
    return torch.where((ends[:, 0] < ends[:, 1])[:, None], forth[back], reverse[back])


def _unordered(ends: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs without their order, each once: lower and higher box (U,) of `count`, and which of them each of `ends` is.

    What is drawn in the union of two boxes is the same for both orders of a pair.
    """
    low, high = ends.amin(1), ends.amax(1)
    code, back = torch.unique(low * count + high, return_inverse=True)
    return code // max(count, 1), code % max(count, 1), back


def _box_geometry(boxes: Tensor, full: Tensor) -> Tensor:
    """(n, OWN): centre, width and height as shares of the picture (n, 2), and the root of the area share."""
    scale = full.flip(1)
    side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0) / scale
    centre = (boxes[:, 2:] + boxes[:, :2]) / 2 / scale
    return torch.cat([centre, side, side.prod(1, keepdim=True).sqrt()], dim=1)
