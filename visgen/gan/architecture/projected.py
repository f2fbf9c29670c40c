"""A discriminator that judges what a network that is fixed sees in pictures, instead of the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import ConfigError, DataError
from ..adversarial import ADVERSARIAL
from .patch import SLOPE

__all__ = ["ProjectedDiscriminator"]


class ProjectedDiscriminator(nn.Module):
    """Small judges, one for each map of a network that does not learn; each pixel of a map gets a logit.

    A network that knows photographs does not care about chequers and noise as pixels do, and tells a lit window from a
    bright wall from the first step on: with few pictures the two sides stay in balance for longer.

    Args:
        channels: Width of each map, fine first.
        width: Of the judges.
    Raises:
        ConfigError: No map, or a width below 1.
    Source: Sauer et al. 2021, arXiv:2111.01007; without its random mixing of maps, and with one judge for each map.
    """

    scale: Tensor

    def __init__(self, channels: Sequence[int], width: int = 48) -> None:
        super().__init__()
        if not channels or width < 1:
            raise ConfigError(f"channels is {list(channels)} and width {width}; give one map or more, and 1 or more.")
        self.judges = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(c, width, 1), nn.LeakyReLU(SLOPE)),
                *(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE)),
                nn.Conv2d(width, 1, 1),
            )
            for c in channels
        )
        self.adversarial = ADVERSARIAL.get("hinge")
        self.register_buffer("scale", torch.zeros(len(channels)))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Give the logits (B, h w) of each map (B, C, h, w).

        Maps are divided by the standard deviation that those of the first call have.

        Raises:
            DataError: Not as many maps as judges.
        """
        if len(maps) != len(self.judges):
            raise DataError(f"{len(maps)} maps were given to {len(self.judges)} judges; give each one.")
        if not bool(self.scale.any()):
            self.scale.copy_(torch.stack([m.detach().std() for m in maps]).clamp(min=1e-6))
        return [judge(m / s).flatten(1) for judge, m, s in zip(self.judges, maps, self.scale, strict=True)]

    def d_loss(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """Hinge loss of the maps of real and made pictures, mean over the judges; real ones come first."""
        pairs = zip(self(real), self([m.detach() for m in fake]), strict=True)
        return torch.stack([self.adversarial.d(r, f) for r, f in pairs]).mean()

    def g_loss(self, fake: Sequence[Tensor]) -> Tensor:
        """Minus the mean logit of made pictures, mean over the judges."""
        return torch.stack([self.adversarial.g(logits) for logits in self(fake)]).mean()
