"""Networks small enough to work by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from visgen.gan import AugmentPipe, DFeatures, Discriminator, GanBatch


class Linear(Discriminator):
    """s = w . x, features the flattened image: everything about it can be written down."""

    def __init__(self, pixels: int) -> None:
        super().__init__(pixels)
        self.weight = nn.Parameter(torch.linspace(-1, 1, pixels))

    def features(self, x: Tensor) -> DFeatures:
        return DFeatures([x], x.flatten(1))

    def base_logit(self, f: DFeatures) -> Tensor:
        return f.h @ self.weight


class Fixed(nn.Module):
    """A generator that scales what it is given: z (B, 3 * side * side) to images, times one parameter."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.gain = side, nn.Parameter(torch.tensor(0.5))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return (self.gain * z).view(-1, 3, self.side, self.side)


@pytest.fixture
def make_batch() -> Callable[..., GanBatch]:
    """A batch of linear networks over 4 x 4 images; keywords replace its parts."""

    def make(side: str = "d", number: int = 6, seed: int = 0, **changes: Any) -> GanBatch:
        rng = torch.Generator().manual_seed(seed)
        parts: dict[str, Any] = {
            "side": side,
            "generator": Fixed(4),
            "discriminator": Linear(48),
            "x": torch.rand(number, 3, 4, 4, generator=rng) * 2 - 1,
            "y": None,
            "z": torch.randn(number, 48, generator=rng),
            "y_fake": None,
            "pipe": AugmentPipe(),
            "rng": rng,
        }
        return GanBatch(**(parts | changes))

    return make
