"""Maps at strides 4, 8, 16 and 32 from the one stride-16 map of a plain transformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["SimplePyramid", "halve"]


def halve(x: Tensor) -> Tensor:
    """Stride-32 map (B, D, ceil(h/2), ceil(w/2)) of a stride-16 map by max pooling."""
    if torch.compiler.is_exporting():  # pooling with ceil_mode would tie a graph to the parity of its recorded size
        for axis in (-2, -1):
            last = x.shape[axis] - 1
            first = 2 * torch.arange(last // 2 + 1, device=x.device)
            x = torch.maximum(x.index_select(axis, first), x.index_select(axis, (first + 1).clamp(max=last)))
        return x
    return F.max_pool2d(x, 2, ceil_mode=True)


class SimplePyramid(nn.Module):
    """Transposed convolutions towards fine maps, identity, and max pooling towards the coarse one.

    Args:
        width: D of the stride-16 map; the stride-8 map has D / 2 channels and the stride-4 map D / 4.
    Source: Li et al. 2022 (ViTDet), arXiv:2203.16527, section 3; finer maps are narrower here.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = {4: width // 4, 8: width // 2, 16: width, 32: width}
        self.up8 = nn.ConvTranspose2d(width, width // 2, 2, stride=2)
        self.norm = nn.GroupNorm(1, width // 2)
        self.up4 = nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Give {stride: map} for a map (B, D, h, w) at stride 16."""
        eighth = self.up8(x)
        return {4: self.up4(F.gelu(self.norm(eighth))), 8: eighth, 16: x, 32: halve(x)}
