"""How the shapes of two boxes touch: their masks pasted into one frame, and the share of each rim on the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CONTACT", "contact", "contacts", "paste_masks"]

CONTACT = 13
SMALL = 1e-3


def paste_masks(masks: Tensor, boxes: Tensor, frames: Tensor, side: int) -> Tensor:
    """Draw what masks say about their boxes into other frames.

    Args:
        masks: (M, S, S) values of S x S cells that fill each box.
        boxes: Corners (M, 4) of those boxes in pixels.
        frames: Corners (M, 4) of the rectangles to draw.
        side: Cells along each axis of the drawing.
    Returns:
        (M, side, side): the mask at the centre of each cell, interpolated; 0 outside the box.
    """
    cells = (torch.arange(side, device=boxes.device, dtype=torch.float32) + 0.5) / side
    extent = (frames[:, 2:] - frames[:, :2]).clamp(min=SMALL)
    own = (boxes[:, 2:] - boxes[:, :2]).clamp(min=SMALL)
    # The place of each cell, -1..1 across the box.
    place = frames[:, None, :2] + cells[None, :, None] * extent[:, None]  # (M, side, 2), x and y
    place = 2 * (place - boxes[:, None, :2]) / own[:, None] - 1
    grid = torch.stack([place[:, None, :, 0].expand(-1, side, -1), place[:, :, None, 1].expand(-1, -1, side)], dim=-1)
    drawn = F.grid_sample(masks.float()[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    return drawn * (grid.abs() <= 1).all(-1)


def contact(subjects: Tensor, objects: Tensor) -> Tensor:
    """The first of what `contacts` gives, (M, CONTACT)."""
    return contacts(subjects, objects)[0]


def contacts(subjects: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
    """Say in numbers how two masks in one frame touch, and how they do with their parts exchanged.

    Args:
        subjects, objects: (M, n, n) in [0, 1], drawn in the same frame.
    Returns:
        Twice (M, CONTACT), the second for the objects as subjects. For each of the four sides (left, right, above,
        below) the share of the subject's rim on that side behind which the object lies, then the same of the object's
        rim (8); the share of each mask that the other covers (2) and that the other covers or borders (2); the surest
        single touch (1).
    """
    rims = [_behind(subjects, objects), _behind(objects, subjects)]
    both = (subjects * objects).sum((1, 2))
    masks = (subjects, objects)
    areas = [mask.sum((1, 2)).clamp(min=SMALL) for mask in masks]
    near = [F.max_pool2d(b[:, None], 3, 1, 1)[:, 0] * a for a, b in (masks, masks[::-1])]
    bordered = [n.sum((1, 2)) / area for n, area in zip(near, areas, strict=True)]
    found = []
    for s, o in ((0, 1), (1, 0)):
        covered = [both / areas[s], both / areas[o], bordered[s], bordered[o], near[s].flatten(1).amax(1)]
        found.append(torch.stack([*rims[s], *rims[o], *covered], dim=1))
    return found[0], found[1]


def _behind(one: Tensor, other: Tensor) -> list[Tensor]:
    """For each side, the share (M,) of the rim of `one` behind which `other` lies."""
    padded, beyond = F.pad(one, (1, 1, 1, 1)), F.pad(other, (1, 1, 1, 1))
    n = one.shape[-1]
    shares = []
    for rows, columns in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        window = (slice(None), slice(1 + rows, n + 1 + rows), slice(1 + columns, n + 1 + columns))
        rim = one * (1 - padded[window])
        shares.append((rim * beyond[window]).sum((1, 2)) / rim.sum((1, 2)).clamp(min=SMALL))
    return shares
