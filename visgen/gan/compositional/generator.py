"""From a scene graph to the feature map of a picture that would show it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError
from .graph import GraphBatch
from .layout import collage, paste_tiles

__all__ = ["FeatureGenerator"]


class FeatureGenerator(nn.Module):
    """Graph convolutions make a tile for each box, real regions of its class join, and a layout of tiles is refined.

    Args:
        channels: C of the maps.
        objects, predicates: Numbers K and P of classes.
        embed: Width of the class and predicate embeddings.
        width: Hidden width of the graph convolutions.
        layers: Their number.
        tile: Channels of the tiles that the graph makes.
        layout: Channels of the layout.
        refine: Channels of the stages of the refinement; each doubles the side of the one before, up to the map's.
        cells: Side of a tile.
        noise: Width of the noise that joins each box, so that draws differ without real regions; 0 for none.
        real: Show the generator a real region of each box's class. They join the tiles, and what is made is added to
            them: a fresh generator gives a collage of real regions, the smaller box on top.
    Raises:
        ConfigError: A size below its least.
    Source: Knyazev et al. 2021, arXiv:2007.05756, whose generator follows Johnson et al. 2018, arXiv:1804.01622. Layer
        norms over channels stand in for batch norms, which would couple pictures; noise, and the ways from the
        layout and from the real regions straight to the map, are ours; the last layer is linear, since maps need not be
        positive here.
    """

    def __init__(
        self,
        channels: int,
        objects: int,
        predicates: int,
        embed: int = 64,
        width: int = 64,
        layers: int = 5,
        tile: int = 32,
        layout: int = 64,
        refine: Sequence[int] = (32, 64, 64),
        cells: int = 7,
        noise: int = 16,
        real: bool = True,
    ) -> None:
        super().__init__()
        if layers < 1 or len(refine) < 1 or noise < 0:
            raise ConfigError(
                f"the feature generator has {layers} layers, {len(refine)} refinements and noise {noise}; use 1 or "
                "more, 1 or more, and 0 or more."
            )
        self.channels, self.objects, self.cells, self.noise, self.tile = channels, objects, cells, noise, tile
        self.names = nn.Embedding(objects + 1, embed)  # the last one is the picture itself
        self.predicates = nn.Embedding(predicates + 1, embed)  # 0 joins boxes to the picture
        sizes = [(embed + 4 + noise, embed)] + [(width, width)] * (layers - 1)
        self.graph = nn.ModuleList(
            _GraphLayer(node, edge, width, tile * cells * cells if i == layers - 1 else width, i == layers - 1)
            for i, (node, edge) in enumerate(sizes)
        )
        self.shape = nn.Sequential(
            nn.Conv2d(tile, layout, 3, padding=1), nn.ReLU(), nn.Conv2d(layout, layout, 3, padding=1), nn.ReLU()
        )
        self.join = nn.Conv2d(layout + channels, layout, 1) if real else None
        before = [0, *refine[:-1]]
        self.stages = nn.ModuleList(_Stage(layout + b, c) for b, c in zip(before, refine, strict=True))
        self.last, self.skip = nn.Conv2d(refine[-1], channels, 3, padding=1), nn.Conv2d(layout, channels, 1)
        # a fresh generator shows real regions as they are, or without them the layout, and learns to refine it
        nn.init.normal_(self.last.weight, std=0.005)
        if real:
            nn.init.normal_(self.skip.weight, std=0.005)

    def forward(self, graph: GraphBatch, real: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Make maps.

        Args:
            graph: What they show.
            real: (n, C, s, s) a real region of each box's class; needed when built with `real`.
            noise: (n, noise) standard normal; needed when `noise` is above 0.
        Returns:
            (B, C, h, w); zero beyond the cells that a picture fills.
        Raises:
            ConfigError: A part is missing or of another shape.
        """
        n = len(graph.labels)
        if self.join is not None and (real is None or tuple(real.shape) != (n, self.channels, self.cells, self.cells)):
            raise ConfigError(
                f"the feature generator got real regions {None if real is None else tuple(real.shape)}; it needs "
                f"{(n, self.channels, self.cells, self.cells)}."
            )
        if self.noise and (noise is None or tuple(noise.shape) != (n, self.noise)):
            raise ConfigError(
                f"the feature generator got noise {None if noise is None else tuple(noise.shape)}; it needs "
                f"{(n, self.noise)}."
            )
        tiles = self.shape(self._tiles(graph, noise))
        if self.join is not None and real is not None:
            tiles = self.join(torch.cat([tiles, real], dim=1))
        layout = paste_tiles(tiles, graph)
        h, w = graph.grid
        x: Tensor | None = None
        for level, stage in enumerate(self.stages):
            shrink = 2 ** (len(self.stages) - 1 - level)
            size = (-(-h // shrink), -(-w // shrink))
            seen = F.adaptive_avg_pool2d(layout, size) if shrink > 1 else layout
            x = stage(seen if x is None else torch.cat([F.interpolate(x, size=size), seen], dim=1))
        assert x is not None
        made = self.last(x) + self.skip(layout)
        if self.join is not None and real is not None:
            made = made + collage(real, graph)
        return made * graph.inside()

    def _tiles(self, graph: GraphBatch, noise: Tensor | None) -> Tensor:
        """(n, tile, s, s) of the boxes, from what they are and how they are related."""
        n, count, device = len(graph.labels), len(graph), graph.boxes.device
        full = graph.cells.flip(1).repeat(1, 2).to(torch.float32)  # (B, 4): columns, rows twice
        own = torch.cat([graph.boxes / full[graph.image], graph.boxes.new_tensor([[0.0, 0, 1, 1]]).expand(count, 4)])
        labels = torch.cat([graph.labels, graph.labels.new_full((count,), self.objects)])
        parts = [self.names(labels), own]
        if noise is not None and self.noise:
            parts.append(torch.cat([noise, noise.new_zeros(count, self.noise)]))
        ends, predicates = graph.relations()
        boxes = torch.arange(n, device=device)
        to_picture = torch.stack([boxes, n + graph.image], dim=1)
        ends = torch.cat([ends, to_picture, to_picture.flip(1)])
        kinds = torch.cat([predicates + 1, predicates.new_zeros(2 * n)])
        node, edge = torch.cat(parts, dim=1), self.predicates(kinds)
        for layer in self.graph:
            node, edge = layer(node, edge, ends)
        return node[:n].reshape(n, self.tile, self.cells, self.cells)


class _GraphLayer(nn.Module):
    """Each relation speaks to its subject and its object; a node takes the mean of what it hears."""

    def __init__(self, node: int, edge: int, width: int, out: int, is_last: bool) -> None:
        super().__init__()
        self.width = width
        self.speak = nn.Sequential(nn.Linear(2 * node + edge, width), nn.ReLU(), nn.Linear(width, 3 * width))
        self.hear = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, out))
        self.norm = nn.Identity() if is_last else nn.Sequential(nn.LayerNorm(out), nn.ReLU())

    def forward(self, node: Tensor, edge: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        subject, target = ends.unbind(1)
        said = self.speak(torch.cat([node[subject], edge, node[target]], dim=1))
        to_subject, own, to_object = said.split(self.width, dim=1)
        heard = said.new_zeros(len(node), self.width).index_add(0, subject, to_subject).index_add(0, target, to_object)
        times = torch.bincount(ends.flatten(), minlength=len(node)).clamp(min=1)
        return self.norm(self.hear(heard / times[:, None])), torch.relu(own)


class _Stage(nn.Module):
    """Two convolutions of the refinement, with norms over the channels of each cell, so that no cell sees far."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        self.norms = nn.ModuleList(nn.LayerNorm(out) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for convolution, norm in zip((self.first, self.second), self.norms, strict=True):
            x = F.leaky_relu(norm(convolution(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), 0.2)
        return x
