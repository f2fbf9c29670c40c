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
    inside = place.abs() <= 1  # a rectangle: its rows and columns tell it
    return drawn * (inside[:, None, :, 0] & inside[:, :, None, 1])


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
    masks = torch.stack([subjects, objects])  # (2, M, n, n); the same with parts exchanged is `flip`
    padded = F.pad(masks, (1, 1, 1, 1))
    rims = _behind(masks, 1 - padded, padded.flip(0))
    areas = masks.sum((2, 3)).clamp(min=SMALL)
    near = _grown(padded).flip(0) * masks
    covered = (subjects * objects).sum((1, 2)) / areas  # (2, M)
    bordered = near.sum((2, 3)) / areas
    shares = torch.stack([covered, covered.flip(0), bordered, bordered.flip(0), near.flatten(2).amax(2)], dim=2)
    found = torch.cat([rims, rims.flip(0), shares], dim=2)
    return found[0], found[1]


def _grown(padded: Tensor) -> Tensor:
    """The largest of the 3 x 3 cells around each cell (..., n, n), for maps (..., n + 2, n + 2) with a margin of 0."""
    for axis in (-2, -1):
        n = padded.shape[axis] - 2
        first, second, third = (padded.narrow(axis, start, n) for start in range(3))
        padded = torch.maximum(torch.maximum(first, second), third)
    return padded


def _behind(masks: Tensor, outside: Tensor, beyond: Tensor) -> Tensor:
    """For each side, the share of the rim of each mask (..., n, n) behind which the other one lies: (..., 4).

    Args:
        masks: The masks.
        outside: What they leave free, with a margin of one cell of 1.
        beyond: The other masks, with a margin of one cell of 0.
    """
    n = masks.shape[-1]
    shares = []
    for rows, columns in ((0, -1), (0, 1), (-1, 0), (1, 0)):
        window = (..., slice(1 + rows, n + 1 + rows), slice(1 + columns, n + 1 + columns))
        rim = masks * outside[window]
        shares.append((rim * beyond[window]).sum((-2, -1)) / rim.sum((-2, -1)).clamp(min=SMALL))
    return torch.stack(shares, dim=-1)
