"""Consistency: an image and its augmented copy get the same logit."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ...errors import ConfigError
from ..augment.diff_augment import translate
from ..batch import GanBatch
from .protocol import REGULARISERS, Regulariser

__all__ = ["Consistency"]


@REGULARISERS.register("consistency")
class Consistency(Regulariser):
    """Squared difference of the logits of an image and of the same image flipped by chance and shifted by up to 1/8.

    Works on images before the pipe, with its own augmentation.

    Args:
        parts: ("real",) as in the source, or ("real", "fake"), the balanced variant.
    Source: Zhang et al. 2019, arXiv:1910.12027; balanced: Zhao et al. 2020, arXiv:2002.04724.
    """

    family: ClassVar[str] = "consistency"

    def __init__(self, weight: float = 10.0, every: int = 1, parts: tuple[str, ...] = ("real",)) -> None:
        super().__init__(weight, every)
        if not parts or not set(parts) <= {"real", "fake"}:
            raise ConfigError(f"parts of the consistency term is {list(parts)}; use real, or real and fake.")
        self.parts = tuple(parts)

    def forward(self, batch: GanBatch) -> Tensor:
        total = torch.zeros((), device=batch.x.device)
        for part in self.parts:
            x, y = (batch.x, batch.y) if part == "real" else (batch.fake, batch.y_fake)
            flip = torch.rand(len(x), 1, 1, 1, generator=batch.rng, device=batch.rng.device).to(x.device) < 0.5
            changed = translate(torch.where(flip, x.flip(3), x), batch.rng)
            s, s_changed = batch.discriminator(torch.cat((x, changed)), None if y is None else y.repeat(2)).chunk(2)
            total = total + (s - s_changed).square().mean()
        return total
