"""Adaptive augmentation: another pipe applied with a probability that follows the discriminator's certainty."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...errors import ConfigError
from .protocol import AUGMENTS, AugmentPipe

__all__ = ["AdaptiveAugment"]


@AUGMENTS.register("adaptive")
class AdaptiveAugment(AugmentPipe):
    """Show each image through another pipe with probability p, else as it is.

    Every `every` discriminator steps p moves by images_seen / speed, up when the mean sign of the logits of reals
    exceeds `target` (the discriminator is too sure), down otherwise, within [0, 1].

    Args:
        pipe: Key of the pipe in AUGMENTS; `options` are its keywords. The source has a larger set of transforms.
        target: Wanted mean sign of the logits of reals.
        speed: Images over which p would go from 0 to 1.
        every: Steps between two moves.
        p: Where it starts.
    Source: Karras et al. 2020, arXiv:2006.06676, section 3.
    """

    is_identity = False
    p: Tensor
    signs: Tensor
    seen: Tensor
    steps: Tensor

    def __init__(
        self,
        pipe: str = "diff_augment",
        options: dict[str, Any] | None = None,
        target: float = 0.6,
        speed: float = 500_000,
        every: int = 4,
        p: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1 or every < 1 or speed <= 0:
            raise ConfigError(f"p is {p}, every {every}, speed {speed}; use p in [0, 1], every >= 1 and speed > 0.")
        self.pipe: AugmentPipe = AUGMENTS.build(pipe, **(options or {}))
        self.target, self.speed, self.every = target, speed, every
        self.register_buffer("p", torch.tensor(float(p), dtype=torch.float64))
        self.register_buffer("signs", torch.zeros((), dtype=torch.float64))  # sum over the images since the last move
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, rng: torch.Generator) -> Tensor:
        chosen = torch.rand(len(x), 1, 1, 1, generator=rng, device=rng.device).to(x.device) < self.p
        return torch.where(chosen, self.pipe(x, rng), x)

    @torch.no_grad()
    def observe(self, s_real: Tensor, images: int) -> None:
        self.signs += s_real.sign().double().mean() * images
        self.seen += images
        self.steps += 1
        if int(self.steps) % self.every:
            return
        step = torch.sign(self.signs / self.seen - self.target) * self.seen / self.speed
        self.p.copy_((self.p + step).clamp(0, 1))
        self.signs.zero_()
        self.seen.zero_()
