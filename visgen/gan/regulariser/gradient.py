"""Penalties on the gradient of the discriminator with respect to its input."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ...errors import ConfigError
from ..batch import GanBatch
from .protocol import REGULARISERS, Regulariser, input_gradient

__all__ = ["R1", "GradientPenalty"]


@REGULARISERS.register("r1")
class R1(Regulariser):
    """Half the mean squared gradient norm at real images, taken before the augmentation.

    Source: Mescheder et al. 2018, arXiv:1801.04406, equation 9; lazily every 16 steps as in Karras et al. 2020,
    arXiv:1912.04958.
    """

    family: ClassVar[str] = "gradient penalty"

    def __init__(self, weight: float = 1.0, every: int = 16) -> None:
        super().__init__(weight, every)

    def forward(self, batch: GanBatch) -> Tensor:
        gradient = input_gradient(batch.discriminator, batch.x, batch.y, batch.pipe, batch.rng)
        return 0.5 * gradient.flatten(1).square().sum(1).mean()


@REGULARISERS.register("gradient_penalty")
class GradientPenalty(Regulariser):
    """Pull the gradient norm to 1 at random points.

    Args:
        points: "interpolates" between reals and fakes (WGAN-GP), or "around_reals", reals plus uniform noise of half
            the standard deviation of the batch (DRAGAN).
    Source: Gulrajani et al. 2017, arXiv:1704.00028; Kodali et al. 2017, arXiv:1705.07215.
    """

    family: ClassVar[str] = "gradient penalty"

    def __init__(self, weight: float = 10.0, every: int = 1, points: str = "interpolates") -> None:
        super().__init__(weight, every)
        if points not in ("interpolates", "around_reals"):
            raise ConfigError(f"points of the gradient penalty is '{points}'; use interpolates or around_reals.")
        self.points = points

    def forward(self, batch: GanBatch) -> Tensor:
        rng, x = batch.rng, batch.x
        share = torch.rand(len(x), 1, 1, 1, generator=rng, device=rng.device).to(x)
        if self.points == "interpolates":
            points = torch.lerp(batch.fake.detach(), x, share)
        else:
            noise = torch.rand(x.shape, generator=rng, device=rng.device).to(x)
            points = x + share * 0.5 * x.std() * noise
        gradient = input_gradient(batch.discriminator, points, batch.y, batch.pipe, rng)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
