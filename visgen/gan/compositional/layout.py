"""Put a tile of features into each box of a map, and swap what a box of a real map holds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .graph import GraphBatch

__all__ = ["box_cover", "collage", "paste_tiles", "swap_tiles"]


def paste_tiles(tiles: Tensor, graph: GraphBatch) -> Tensor:
    """Sum tiles, each stretched over its box, into one map per picture.

    A cell takes what lies at its centre. Boxes are cut at the map's edges and cover at least one cell.

    Args:
        tiles: (n, D, s, s), one for each box.
        graph: Their boxes.
    Returns:
        (B, D, h, w); zero where no box lies.
    """
    drawn = _stretched(tiles, graph) * box_cover(graph)[:, None]
    empty = drawn.new_zeros(len(graph), tiles.shape[1], *graph.grid)
    return empty.index_add(0, graph.image, drawn)


def box_cover(graph: GraphBatch) -> Tensor:
    """Give (n, h, w) float32: 1 on the cells whose centre lies in the box, at least one cell each."""
    inside = []
    for axis, count in ((1, graph.grid[0]), (0, graph.grid[1])):
        low, high = _extent(graph.boxes, axis, count)
        centre = torch.arange(count, device=low.device) + 0.5
        inside.append((centre >= low[:, None]) & (centre < high[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :]).float()


def collage(tiles: Tensor, graph: GraphBatch) -> Tensor:
    """Lay tiles over each other, the smallest box on top, into one map (B, D, h, w) per picture; zero where none lies.

    Args:
        tiles: (n, D, s, s), one for each box.
        graph: Their boxes.
    """
    cover = box_cover(graph)
    area = (graph.boxes[:, 2:] - graph.boxes[:, :2]).prod(1)
    rank = torch.empty_like(area)
    rank[area.argsort(descending=True, stable=True)] = torch.arange(len(area), dtype=area.dtype, device=area.device)
    height = torch.where(cover > 0, rank[:, None, None] + 1, 0.0)  # the smaller a box, the higher it lies
    owner = graph.image[:, None, None].expand_as(height)
    top = height.new_zeros(len(graph), *graph.grid).scatter_reduce(0, owner, height, "amax")
    seen = cover * (height == top[graph.image])
    empty = tiles.new_zeros(len(graph), tiles.shape[1], *graph.grid)
    return empty.index_add(0, graph.image, _stretched(tiles, graph) * seen[:, None])


def swap_tiles(maps: Tensor, graph: GraphBatch, tiles: Tensor, swapped: Tensor) -> Tensor:
    """Give real maps in which some boxes hold other features.

    A swapped tile covers its box except where a smaller box that is not swapped lies, so that what a figure holds or
    wears stays visible; where swapped boxes overlap, their tiles are averaged.

    Args:
        maps: (B, C, h, w).
        graph: Their boxes.
        tiles: (n, C, s, s); only those of swapped boxes are read.
        swapped: (n,) bool.
    """
    cover = box_cover(graph)
    area = (graph.boxes[:, 2:] - graph.boxes[:, :2]).prod(1)
    smaller = (graph.image[:, None] == graph.image[None]) & (area[None] < area[:, None]) & ~swapped[None]  # (n, n)
    hidden = (torch.einsum("ij,jhw->ihw", smaller.float(), cover) > 0).float()
    mine = cover * (1 - hidden) * swapped[:, None, None]
    count = maps.new_zeros(len(graph), *graph.grid).index_add(0, graph.image, mine)[:, None]
    total = torch.zeros_like(maps).index_add(0, graph.image, _stretched(tiles, graph) * mine[:, None])
    return torch.where(count > 0, total / count.clamp(min=1), maps)


def _extent(boxes: Tensor, axis: int, count: int) -> tuple[Tensor, Tensor]:
    """Ends of boxes along an axis inside 0..count, at least one cell apart."""
    low, high = boxes[:, axis].clamp(0, count), boxes[:, axis + 2].clamp(0, count)
    middle = ((low + high) / 2).clamp(0.5, count - 0.5)
    thin = high - low < 1
    return torch.where(thin, middle - 0.5, low), torch.where(thin, middle + 0.5, high)


def _stretched(tiles: Tensor, graph: GraphBatch) -> Tensor:
    """(n, D, h, w): each tile over the whole map, in the frame of its box; only cells in the box mean anything."""
    places = []
    for axis, count in ((0, graph.grid[1]), (1, graph.grid[0])):
        low, high = _extent(graph.boxes, axis, count)
        centre = torch.arange(count, device=low.device) + 0.5
        places.append(2 * (centre - low[:, None]) / (high - low)[:, None] - 1)
    x, y = places
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), dim=-1)  # (n, h, w, 2)
    return F.grid_sample(tiles, grid.to(tiles.dtype), padding_mode="border", align_corners=False)
