"""Dense anchor-free detection head: class scores and the four distances to the box edges at every point."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from .protocol import HEADS, Features, Head
from .pyramid_decoder import conv_block, resize_like

__all__ = ["DetectionHead"]

MAX_LOG = 5.0  # a side lies at most exp(5) = 148 strides from its point, beyond any picture that fits in memory


@HEADS.register("detection")
class DetectionHead(Head):
    """Rows (B, N, 7 + K), one per point of the pyramid, fine levels first and row by row.

    A row is x, y (pixels of the point), its stride, the distances left, top, right, bottom from the point to the box
    edges (pixels, above 0) and K class logits, so that whoever reads it needs no other geometry. One tower for classes
    and one for boxes serve all levels.

    Args:
        channels, token_dim, outputs: See Head.
        width: Channels of the pyramid and the towers, a multiple of 8.
        depth: Convolutions in each tower.
        strides: Levels, increasing; each twice the one before.
        prior: Probability that an untrained point gives every class (Lin et al. 2017, arXiv:1708.02002, section 4.1).
        dropout: Share of the class tower's channels dropped in training.
        gains: Fixed factor on each level's input. Adam's steps do not grow with the size of an input, so a level of
            larger values is learnt faster, which suits the normalised maps at strides 8 and 16.
    Source: Tian et al. 2019, arXiv:1904.01355 (points, distances, a learned scale per level); without centre-ness,
        because the assignment of `visgen.losses.detection_loss` ranks points by the quality of their boxes.
    """

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int,
        width: int = 96,
        depth: int = 2,
        strides: tuple[int, ...] = (8, 16, 32),
        prior: float = 0.01,
        dropout: float = 0.0,
        gains: tuple[float, ...] = (4.0, 4.0, 1.0),
    ) -> None:
        super().__init__()
        self.strides, self.gains = tuple(strides), tuple(gains)
        if len(self.gains) != len(self.strides):
            raise ConfigError(
                f"detection head has {len(self.gains)} gains for {len(self.strides)} strides; give one for each."
            )
        if width % 8 or depth < 1:
            raise ConfigError(
                f"detection head has width {width} and depth {depth}; use a multiple of 8, and 1 or more."
            )
        lost = [s for s in self.strides if s not in channels]
        if lost or any(b != 2 * a for a, b in zip(self.strides, self.strides[1:], strict=False)) or not self.strides:
            raise ConfigError(
                f"detection head has strides {list(self.strides)} on a pyramid of {sorted(channels)}; use levels of "
                "the pyramid, each twice the one before."
            )
        self.laterals = nn.ModuleList(nn.Conv2d(channels[s], width, 1) for s in self.strides)
        self.context = nn.Linear(token_dim, width)
        self.smooth = nn.ModuleList(conv_block(width, width) for _ in self.strides)
        self.class_tower = nn.Sequential(*(conv_block(width, width) for _ in range(depth)), nn.Dropout2d(dropout))
        self.box_tower = nn.Sequential(*(conv_block(width, width) for _ in range(depth)))
        self.classify = nn.Conv2d(width, outputs, 1)
        self.regress = nn.Conv2d(width, 4, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(self.strides)))
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.constant_(self.classify.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]
        nn.init.normal_(self.regress.weight, std=0.01)
        nn.init.constant_(self.regress.bias, math.log(2.0))  # type: ignore[arg-type]

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        maps = [
            lateral(gain * features.pyramid[s])
            for lateral, s, gain in zip(self.laterals, self.strides, self.gains, strict=True)
        ]
        maps[-1] = maps[-1] + self.context(features.token.to(maps[-1].dtype))[:, :, None, None]
        for i in reversed(range(len(maps) - 1)):
            maps[i] = maps[i] + resize_like(maps[i + 1], maps[i])
        rows = []
        for i, stride in enumerate(self.strides):
            x = self.smooth[i](maps[i])
            logits = self.classify(self.class_tower(x)).to(torch.float32)
            log_sides = self.regress(self.box_tower(x)).to(torch.float32) * self.scales[i]
            sides = log_sides.clamp(max=MAX_LOG).exp() * stride
            points = grid_points(logits.shape[-2:], stride, logits.device).expand(logits.shape[0], -1, -1)
            rows.append(torch.cat([points, _flat(sides), _flat(logits)], dim=2))
        return torch.cat(rows, dim=1)


def grid_points(grid: tuple[int, ...], stride: int, device: torch.device) -> Tensor:
    """Give x, y and stride (1, h * w, 3) of the cell centres of a map (h, w), row by row, in pixels."""
    y, x = torch.meshgrid(
        torch.arange(grid[0], device=device, dtype=torch.float32),
        torch.arange(grid[1], device=device, dtype=torch.float32),
        indexing="ij",
    )
    centres = (torch.stack([x, y], dim=-1).reshape(1, -1, 2) + 0.5) * stride
    return F.pad(centres, (0, 1), value=float(stride))


def _flat(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)
