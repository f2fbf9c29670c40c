"""Two-dimensional positions for a token grid of any size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["ConvPosition", "LearnedPosition", "SinCosPosition", "sin_cos_grid"]


def sin_cos_grid(height: int, width: int, channels: int, extent: float = 14.0) -> Tensor:
    """Sine and cosine codes (h * w, D) of cell centres: half the channels for rows, half for columns.

    Args:
        height, width: Grid cells.
        channels: D, a multiple of 4.
        extent: Length given to the longer side in the units of the code, so that a finer grid over the same picture
            has the same codes in between; 14 is the grid of 224 px at stride 16.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5, applied to each axis.
    """
    if channels % 4:
        raise ConfigError(f"width is {channels}; sin-cos positions need a multiple of 4.")
    scale = extent / max(height, width)
    rate = 10000.0 ** -(torch.arange(channels // 4) / (channels // 4))
    y = (torch.arange(height) + 0.5)[:, None] * scale * rate
    x = (torch.arange(width) + 0.5)[:, None] * scale * rate
    rows = torch.cat([y.sin(), y.cos()], 1)[:, None].expand(height, width, -1)
    columns = torch.cat([x.sin(), x.cos()], 1)[None].expand(height, width, -1)
    return torch.cat([rows, columns], 2).reshape(height * width, channels)


class SinCosPosition(nn.Module):
    """Add `sin_cos_grid` to tokens (B, h * w, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sin_cos_grid(1, 1, width)  # refuses a width that does not fit

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        return x + sin_cos_grid(*grid, x.shape[-1]).to(device=x.device, dtype=x.dtype)


class ConvPosition(nn.Module):
    """Add a depthwise convolution of the token map; its zero padding tells tokens where the border is.

    Args:
        width: D.
        kernel: Odd side of the kernel.
    Source: Chu et al. 2021 (CPVT), arXiv:2102.10882, section 3.2.
    """

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        batch, _, width = x.shape
        image = x.transpose(1, 2).reshape(batch, width, *grid)
        return x + self.conv(image).flatten(2).transpose(1, 2)


class LearnedPosition(nn.Module):
    """Add a learned table of one reference grid, resampled to other grids (bicubic with antialias, as in timm).

    Args:
        width: D.
        grid: Reference grid (h, w).
    """

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = tuple(grid)
        self.table = nn.Parameter(torch.empty(1, grid[0] * grid[1], width))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        if tuple(grid) == self.grid:
            return x + self.table
        image = self.table.view(1, *self.grid, -1).permute(0, 3, 1, 2)
        image = F.interpolate(image.float(), size=grid, mode="bicubic", antialias=True, align_corners=False)
        return x + image.flatten(2).transpose(1, 2).to(x.dtype)
