"""Top-down decoder that dense heads share: one map at stride 4 from the pyramid and the image vector.

Source: Lin et al. 2017, arXiv:1612.03144 (lateral and top-down paths); the image vector and the narrow finest level
are ours.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..nn.crop import crop
from .protocol import Features

__all__ = ["PyramidDecoder", "conv_block", "resize_like"]


def conv_block(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 x 3 convolution, group norm over 8 groups and ReLU.

    Group norm, because one batch may hold two images and batches alternate between tasks.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.ReLU(inplace=True)
    )


class PyramidDecoder(nn.Module):
    """Features -> (B, `fine_width`, ceil(H/4), ceil(W/4)).

    Args:
        channels: Stride -> channels of the pyramid.
        token_dim: Width of the image vector, added at the coarsest level after a linear layer.
        width: Channels at strides 16 and 8, a multiple of 8.
        fine_width: Channels at stride 4, a multiple of 8.
    """

    def __init__(self, channels: dict[int, int], token_dim: int, width: int = 96, fine_width: int = 64) -> None:
        super().__init__()
        if width % 8 or fine_width % 8 or min(width, fine_width) < 8:
            raise ConfigError(f"decoder widths are {width} and {fine_width}; use multiples of 8, from 8 on.")
        self.lateral16 = nn.Conv2d(channels[16], width, 1)
        self.context = nn.Linear(token_dim, width)
        self.block16 = conv_block(width, width)
        self.lateral8 = nn.Conv2d(channels[8], width, 1)
        self.block8 = conv_block(width, width)
        self.lateral4 = nn.Conv2d(channels[4], fine_width, 1)
        self.narrow = nn.Conv2d(width, fine_width, 1)
        self.block4 = conv_block(fine_width, fine_width)

    def forward(self, features: Features) -> Tensor:
        x = self.lateral16(features.pyramid[16])
        x = self.block16(x + self.context(features.token.to(x.dtype))[:, :, None, None])
        x = self.block8(resize_like(x, features.pyramid[8]) + self.lateral8(features.pyramid[8]))
        x = self.narrow(x)
        return self.block4(resize_like(x, features.pyramid[4]) + self.lateral4(features.pyramid[4]))


def resize_like(x: Tensor, other: Tensor) -> Tensor:
    """Bring a map to the next finer level `other`.

    Maps are cropped to ceil(H/s), so resizing to an odd size would misalign the cells: upsample by 2, then crop.
    """
    x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    return crop(x, *other.shape[-2:])
