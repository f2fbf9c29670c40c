"""Cutting maps so that it also works while a graph for pictures of any size is recorded."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["crop"]


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """Cut a map (..., H, W) to its top left `height` x `width`.

    Under `torch.export` the sizes may be symbols, and whether a slice of a slice is contiguous would tie the graph to
    one case of them; rows and columns are then picked by number, which gives the same values in memory of their own.
    """
    if torch.compiler.is_exporting():
        x = x.index_select(-2, torch.arange(height, device=x.device))
        return x.index_select(-1, torch.arange(width, device=x.device))
    return x if x.shape[-2:] == (height, width) else x.narrow(-2, 0, height).narrow(-1, 0, width)
