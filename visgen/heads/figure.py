"""Figure and ground of boxes: which cells of a box its object fills."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from .pyramid_decoder import conv_block

__all__ = ["FIGURE", "FigureBranch", "figure_targets", "pool_cells"]

FIGURE = 14  # side of a mask in cells


class FigureBranch(nn.Module):
    """Mask logits (n, FIGURE, FIGURE) of boxes, told what they hold.

    Args:
        channels: Channels of each map it reads.
        told: Width of what is known of each box.
        width: Channels inside, a multiple of 8.
    Source: the mask branch of He et al. 2017, arXiv:1703.06870, narrower and without the enlargement; the class enters
        as an input instead of choosing among K outputs, so that rare classes share what masks have in common.
    """

    def __init__(self, channels: Sequence[int], told: int, width: int = 48) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(sum(channels), width, 1)
        self.told = nn.Linear(told, width)
        self.place = nn.Parameter(0.02 * torch.randn(1, width, FIGURE, FIGURE))  # where in a box figures lie
        self.first, self.second = conv_block(width, width), conv_block(width, width)
        self.project = nn.Conv2d(width, 1, 1)

    def forward(self, cells: Sequence[Tensor], told: Tensor) -> Tensor:
        """Give the logits.

        Args:
            cells: What `pool_cells` gives of each map, (n, C, FIGURE, FIGURE).
            told: (n, `told`).
        """
        x = self.squeeze(torch.cat(list(cells), dim=1)) + self.told(told)[:, :, None, None] + self.place
        return self.project(self.second(self.first(torch.relu(x))))[:, 0].float()


def pool_cells(maps: Tensor, stride: int, boxes: Tensor, image: Tensor) -> Tensor:
    """Give the values (n, C, FIGURE, FIGURE) of maps in the middle of each cell of boxes.

    Args:
        maps: (B, C, h, w) at `stride`.
        boxes: Corners (n, 4) in pixels.
        image: (n,) int64, the image of each box.
    """
    rows = torch.cat([image[:, None].to(torch.float32), boxes], dim=1)
    # the operator has no 16-bit form on every device
    return roi_align(maps.float(), rows, FIGURE, 1.0 / stride, sampling_ratio=1, aligned=True)


def figure_targets(masks: Tensor, boxes: Tensor) -> Tensor:
    """Give the share of each cell of each box that its mask covers: (n, FIGURE, FIGURE).

    Args:
        masks: (n, H, W) bool.
        boxes: Corners (n, 4) in the pixels of the masks.
    """
    rows = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].to(boxes.dtype), boxes], dim=1)
    return roi_align(masks[:, None].float(), rows, FIGURE, 1.0, sampling_ratio=4, aligned=True)[:, 0]
