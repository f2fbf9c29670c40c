"""Read a map a little beside each of its pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["sample_offset"]


def sample_offset(x: Tensor, step: Tensor) -> Tensor:
    """Give the values of a map at each pixel plus a step of its own, bilinear between pixels, the border repeated.

    Args:
        x: (H, W).
        step: (2, H, W): x and y of the step in pixels.
    """
    height, width = x.shape
    rows = torch.arange(height, dtype=x.dtype, device=x.device).view(-1, 1) + step[1]
    columns = torch.arange(width, dtype=x.dtype, device=x.device).view(1, -1) + step[0]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(x[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]
