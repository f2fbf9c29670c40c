"""AdaptiveMix: the features of a mixture of two images are pulled to the mixture of their features."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ConfigError
from ..architecture import DFeatures, mix_features
from ..batch import GanBatch
from .protocol import REGULARISERS, Regulariser

__all__ = ["AdaptiveMix", "mix_similarity"]


def mix_similarity(mixed: Tensor, target: Tensor, noise: float, rng: torch.Generator) -> Tensor:
    """Mean cosine between features of mixtures and their targets, a scalar in [-1, 1].

    Args:
        mixed: Last maps (B, C, h, w) of the mixed images.
        target: Mixtures of the last maps; noise is added, and no gradient flows into them.
        noise: Standard deviation of the noise.
    """
    target = target.detach()
    if noise:
        target = target + noise * torch.randn(target.shape, generator=rng, device=rng.device).to(target)
    return F.cosine_similarity(mixed.flatten(1), target.flatten(1), dim=1).mean()


@REGULARISERS.register("adaptive_mix")
class AdaptiveMix(Regulariser):
    """Minus the cosine between F(w x + (1 - w) x') and w F(x) + (1 - w) F(x') + noise, F up to the last map.

    Reals are mixed with reals and fakes with fakes, one weight w ~ Beta(alpha, alpha) and one permutation a batch; the
    discriminator takes both terms, the generator that of the fakes.

    Args:
        noise: Standard deviation of the noise on the target.
        alpha: Of the Beta distribution; 1 is the uniform one.
        logits: "clean" leaves the adversarial logits alone; "mixed" judges the mixture of the features and the features
            of the mixture, and adds both, as the authors' release does; "pixels" judges the features of the mixture
            alone. With a weight of 0 that is mixup of what the discriminator sees, a control without the cosine.
        on_generator: Whether the generator takes its term.
    Source: Liu et al. 2023, "AdaptiveMix: Improving GAN Training via Feature Space Shrinkage", arXiv:2303.01559.
    Differs from the release: the third pass, of permuted images, is left out, since it permutes the features.
    """

    sides: ClassVar[tuple[str, ...]] = ("d", "g")

    def __init__(
        self,
        weight: float = 1.0,
        every: int = 1,
        noise: float = 0.05,
        alpha: float = 1.0,
        logits: str = "clean",
        on_generator: bool = True,
    ) -> None:
        super().__init__(weight, every)
        if logits not in ("clean", "mixed", "pixels"):
            raise ConfigError(f"logits of adaptive_mix is '{logits}'; use clean, mixed or pixels.")
        if noise < 0 or alpha <= 0:
            raise ConfigError(f"noise is {noise} and alpha {alpha}; use a noise of 0 or more and alpha > 0.")
        self.noise, self.alpha, self.logits, self.on_generator = noise, alpha, logits, on_generator

    @property
    def changes_logits(self) -> bool:
        return self.logits != "clean"

    def forward(self, batch: GanBatch) -> Tensor:
        if self.weight == 0 or (batch.side == "g" and not self.on_generator):
            return torch.zeros((), device=batch.x.device)
        parts = ("real", "fake") if batch.side == "d" else ("fake",)
        total = torch.zeros((), device=batch.x.device)
        for part in parts:
            _, _, mixed, target = self._mixtures(batch, parts)[part]
            total = total - mix_similarity(mixed.maps[-1], target.maps[-1], self.noise, batch.rng)
        return total

    def judge(self, batch: GanBatch, part: str) -> Tensor:
        parts = ("real", "fake") if batch.side == "d" else ("fake",)
        weight, order, mixed, target = self._mixtures(batch, parts)[part]
        y = batch.y if part == "real" else batch.y_fake
        judged = self._logit(batch, mixed, weight, order, y)
        return judged if self.logits == "pixels" else judged + self._logit(batch, target, weight, order, y)

    @staticmethod
    def _logit(batch: GanBatch, f: DFeatures, weight: float, order: Tensor, y: Tensor | None) -> Tensor:
        """Logit of mixed features; labels are mixed as the images are."""
        if y is None:
            return batch.discriminator.logits(f, None)
        return torch.lerp(batch.discriminator.logits(f, y[order]), batch.discriminator.logits(f, y), weight)

    def _mixtures(
        self, batch: GanBatch, parts: tuple[str, ...]
    ) -> dict[str, tuple[float, Tensor, DFeatures, DFeatures]]:
        """Weight, permutation, features of the mixtures and mixtures of the features, once for a batch."""
        if self in batch.memo:
            kept: dict[str, tuple[float, Tensor, DFeatures, DFeatures]] = batch.memo[self]
            return kept
        drawn, images = [], []
        for part in parts:
            x = batch.x_seen if part == "real" else batch.fake_seen
            weight, order = draw_mixing(len(x), self.alpha, batch.rng)
            order = order.to(x.device)
            images.append(torch.lerp(x[order], x, weight))
            drawn.append((part, weight, order))
        f = batch.discriminator.features(torch.cat(images))
        found: dict[str, tuple[float, Tensor, DFeatures, DFeatures]] = {}
        n = len(images[0])
        for i, (part, weight, order) in enumerate(drawn):
            rows = slice(i * n, (i + 1) * n)
            mixed = DFeatures([m[rows] for m in f.maps], f.h[rows])
            clean = batch.f_real if part == "real" else batch.f_fake
            found[part] = (weight, order, mixed, mix_features(clean, weight, order))
        batch.memo[self] = found
        return found


def draw_mixing(number: int, alpha: float, rng: torch.Generator) -> tuple[float, Tensor]:
    """Draw a weight from Beta(alpha, alpha) and a permutation (number,), on the device of `rng`."""
    if alpha == 1.0:
        weight = float(torch.rand((), generator=rng, device=rng.device))
    else:
        both = torch._standard_gamma(torch.full((2,), alpha, device=rng.device), generator=rng)
        weight = float(both[0] / both.sum())
    return weight, torch.randperm(number, generator=rng, device=rng.device)
