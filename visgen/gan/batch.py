"""One batch of a GAN as losses and regularisers see it: each quantity is computed when first asked for, and once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .architecture import DFeatures, Discriminator
from .augment import AugmentPipe

__all__ = ["GanBatch", "Side"]

Side = Literal["d", "g"]


@dataclass(frozen=True, eq=False)
class GanBatch:
    """Real images, what the generator is given, and everything that follows from them.

    Attributes:
        side: "d" when the discriminator learns: fakes carry no gradient. "g" when the generator does.
        generator: Called as generator(z, y_fake); gives fakes (B, 3, H, W) in [-1, 1].
        discriminator: Judges what `pipe` shows it.
        x: Real images (B, 3, H, W) in [-1, 1].
        y: Their labels (B,) int64, or None.
        z: What the generator starts from: latents (B, Z), or images of another domain.
        y_fake: Labels that the fakes are to have, or None.
        pipe: Augmentation between images and discriminator, drawn anew for reals and fakes.
        rng: Source of all chance, on the device of the images.
        step: Number of the optimiser step.
        memo: Where a regulariser keeps what it computed for this batch, under itself.
        judge: Replaces the logits of the discriminator, called as judge(batch, "real" or "fake"); None leaves them.
    """

    side: Side
    generator: nn.Module
    discriminator: Discriminator
    x: Tensor
    y: Tensor | None
    z: Tensor
    y_fake: Tensor | None
    pipe: AugmentPipe
    rng: torch.Generator
    step: int = 0
    judge: Callable[[GanBatch, str], Tensor] | None = None
    memo: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def fake(self) -> Tensor:
        """Fakes before augmentation; with a gradient on the generator's side only."""
        with torch.set_grad_enabled(self.side == "g" and torch.is_grad_enabled()):
            fake: Tensor = self.generator(self.z, self.y_fake)
        return fake

    @cached_property
    def x_seen(self) -> Tensor:
        """Reals as the discriminator sees them."""
        return self.pipe(self.x, self.rng)

    @cached_property
    def fake_seen(self) -> Tensor:
        """Fakes as the discriminator sees them."""
        return self.pipe(self.fake, self.rng)

    @cached_property
    def _both(self) -> tuple[DFeatures, DFeatures]:
        """Features of reals and fakes from one pass, so that both meet the same power iteration."""
        f = self.discriminator.features(torch.cat((self.x_seen, self.fake_seen)))
        n = len(self.x_seen)
        return DFeatures([m[:n] for m in f.maps], f.h[:n]), DFeatures([m[n:] for m in f.maps], f.h[n:])

    @cached_property
    def f_real(self) -> DFeatures:
        """Features of the reals."""
        return self._both[0] if self.side == "d" else self.discriminator.features(self.x_seen)

    @cached_property
    def f_fake(self) -> DFeatures:
        """Features of the fakes."""
        return self._both[1] if self.side == "d" else self.discriminator.features(self.fake_seen)

    @cached_property
    def s_real(self) -> Tensor:
        """Logits of the reals."""
        return self.judge(self, "real") if self.judge else self.discriminator.logits(self.f_real, self.y)

    @cached_property
    def s_fake(self) -> Tensor:
        """Logits of the fakes."""
        return self.judge(self, "fake") if self.judge else self.discriminator.logits(self.f_fake, self.y_fake)
