"""How the shapes of two boxes touch: their masks pasted into one frame, and the share of each rim on the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CONTACT", "contact", "paste_masks"]

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
    """Say in numbers how two masks in one frame touch.

    Args:
        subjects, objects: (M, n, n) in [0, 1], drawn in the same frame.
    Returns:
        (M, CONTACT): for each of the four sides (left, right, above, below) the share of the subject's rim on that
        side behind which the object lies, then the same of the object's rim (8); the share of each mask that the other
        covers (2) and that the other covers or borders (2); the surest single touch (1).
    """
    shares = []
    for one, other in ((subjects, objects), (objects, subjects)):
        padded, beyond = F.pad(one, (1, 1, 1, 1)), F.pad(other, (1, 1, 1, 1))
        for rows, columns in ((0, -1), (0, 1), (-1, 0), (1, 0)):
            n = one.shape[-1]
            window = (slice(None), slice(1 + rows, n + 1 + rows), slice(1 + columns, n + 1 + columns))
            rim = one * (1 - padded[window])
            shares.append((rim * beyond[window]).sum((1, 2)) / rim.sum((1, 2)).clamp(min=SMALL))
    both = (subjects * objects).sum((1, 2))
    area_s, area_o = subjects.sum((1, 2)).clamp(min=SMALL), objects.sum((1, 2)).clamp(min=SMALL)
    near = F.max_pool2d(objects[:, None], 3, 1, 1)[:, 0] * subjects
    back = F.max_pool2d(subjects[:, None], 3, 1, 1)[:, 0] * objects
    parts = [*shares, both / area_s, both / area_o, near.sum((1, 2)) / area_s, back.sum((1, 2)) / area_o]
    parts.append(near.flatten(1).amax(1))
    return torch.stack(parts, dim=1)
