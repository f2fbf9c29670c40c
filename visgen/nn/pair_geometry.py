"""How two boxes of an image lie to each other: numbers, and a drawing in the coordinates of their union."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["GEOMETRY", "pair_geometry", "pair_masks"]

GEOMETRY = 24
TINY = 1e-6


def pair_geometry(boxes: Tensor, ends: Tensor, image: Tensor, sizes: Tensor) -> Tensor:
    """Describe ordered pairs by numbers of about unit size.

    Offsets and gaps are relative to the boxes' own size, so that they do not depend on the picture's; ranks say how
    near the one is among the neighbours of the other, which no pair can tell alone.

    Args:
        boxes: Corners (n, 4) in pixels.
        ends: Pairs (M, 2) int64 into `boxes`, subject and object; both of one image.
        image: Image (n,) int64 of each box.
        sizes: (B, 2) float32, height and width of each image.
    Returns:
        (M, GEOMETRY) float32: centre offset over the mean side (2) and over the picture (2); log ratios of width,
        height and area (3); IoU, intersection over each area (3); signed gap along x and y over the mean side (2),
        negative where the boxes overlap on that axis; overlap of the extents on each axis over the shorter (2); offset
        of the subject's bottom to the object's top and bottom, over the mean height (2); root area shares (2); rank
        of each among the neighbours of the other by centre distance and by gap (4), 1 / (1 + rank); log of the number
        of boxes (1); 1 for bias (1).
    """
    s, o = boxes[ends[:, 0]], boxes[ends[:, 1]]
    sc, oc = (s[:, :2] + s[:, 2:]) / 2, (o[:, :2] + o[:, 2:]) / 2
    ss, os = (s[:, 2:] - s[:, :2]).clamp(min=1), (o[:, 2:] - o[:, :2]).clamp(min=1)
    mean = (ss + os) / 2
    scale = sizes[image[ends[:, 0]]].flip(1)  # (M, 2), width and height
    shared = torch.minimum(s[:, 2:], o[:, 2:]) - torch.maximum(s[:, :2], o[:, :2])  # below 0 where there is a gap
    inter = shared.clamp(min=0).prod(1)
    area_s, area_o = ss.prod(1), os.prod(1)
    ratio = (ss / os).log()
    parts = [
        (oc - sc) / mean,
        (oc - sc) / scale,
        ratio,
        ratio.sum(1, keepdim=True),
        torch.stack([inter / (area_s + area_o - inter).clamp(min=TINY), inter / area_s, inter / area_o], dim=1),
        -shared / mean,
        shared.clamp(min=0) / torch.minimum(ss, os),
        torch.stack([(s[:, 3] - o[:, 1]) / mean[:, 1], (s[:, 3] - o[:, 3]) / mean[:, 1]], dim=1),
        torch.stack([area_s.sqrt(), area_o.sqrt()], dim=1) / scale.prod(1, keepdim=True).sqrt(),
        _nearness(boxes, image, ends),
        torch.log(torch.bincount(image, minlength=1)[image[ends[:, 0]]].to(torch.float32))[:, None] / 3,
        torch.ones_like(area_s)[:, None],
    ]
    return torch.cat(parts, dim=1).clamp(-10, 10)


def _nearness(boxes: Tensor, image: Tensor, ends: Tensor) -> Tensor:
    """(M, 4): 1 / (1 + rank) of the object among the subject's neighbours and the reverse, by centre and by gap."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = torch.maximum(boxes[:, None, :2] - boxes[None, :, 2:], boxes[None, :, :2] - boxes[:, None, 2:])
    gap = apart.clamp(min=0).norm(dim=2)
    centres = (centre[:, None] - centre[None]).norm(dim=2)
    # Boxes that touch have no gap: let the centres decide between them.
    distances = torch.stack([centres, gap + 1e-3 * centres])
    foreign = (image[:, None] != image[None]) | torch.eye(len(boxes), dtype=torch.bool, device=boxes.device)
    rank = distances.masked_fill(foreign, torch.inf).argsort(dim=2, stable=True).argsort(dim=2, stable=True)
    near = 1 / (1 + rank.to(torch.float32))  # (2, n, n)
    subject, target = ends.unbind(1)
    return torch.stack([near[:, subject, target], near[:, target, subject]], dim=1).flatten(0, 1).T


def pair_masks(subjects: Tensor, objects: Tensor, side: int) -> Tensor:
    """Draw two boxes in the coordinates of their union.

    Args:
        subjects, objects: Corners (M, 4) in pixels.
        side: Cells along each axis of the drawing.
    Returns:
        (M, 2, side, side) float32 in [0, 1]: the share of each cell that the subject and the object cover.
    Source: the drawing of Zellers et al. 2018, arXiv:1711.06640, which its reference makes in whole-image
        coordinates and with faulty borders in some versions; here covered shares are exact.
    """
    low = torch.minimum(subjects[:, :2], objects[:, :2])
    extent = (torch.maximum(subjects[:, 2:], objects[:, 2:]) - low).clamp(min=TINY)
    cells = torch.arange(side, device=subjects.device, dtype=torch.float32)
    drawn = []
    for boxes in (subjects, objects):
        begin = (boxes[:, :2] - low) / extent * side  # (M, 2), x and y in cells
        end = (boxes[:, 2:] - low) / extent * side
        cover = (torch.minimum(end[..., None], cells + 1) - torch.maximum(begin[..., None], cells)).clamp(0, 1)
        drawn.append(cover[:, 1, :, None] * cover[:, 0, None, :])  # (M, side, side)
    return torch.stack(drawn, dim=1)
