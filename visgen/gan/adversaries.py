"""A generator and a discriminator with their losses: what each side minimises on a batch.

An objective of any kind builds on this: noise to images has one pair, a translation between two domains has two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .adversarial import AdversarialLoss
from .architecture import Discriminator
from .augment import AugmentPipe
from .batch import GanBatch, Side
from .regulariser import Regulariser, lazy_factor

__all__ = ["Adversaries"]


class Adversaries(nn.Module):
    """Two networks against each other.

    Args:
        generator: Called as generator(z, y): a Generator, or any module that gives images in [-1, 1].
        discriminator: The judge.
        loss: Pair of adversarial losses.
        regularisers: Their terms, in order.
        pipe: Augmentation of what the discriminator sees; None for none.
    Raises:
        ConfigError: Regularisers that exclude each other.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: Discriminator,
        loss: AdversarialLoss,
        regularisers: Sequence[Regulariser] = (),
        pipe: AugmentPipe | None = None,
    ) -> None:
        super().__init__()
        check_compatible(regularisers)
        self.generator, self.discriminator, self.adversarial = generator, discriminator, loss
        self.regularisers = nn.ModuleList(regularisers)
        self.pipe = pipe or AugmentPipe()

    def batch(
        self,
        side: Side,
        x: Tensor,
        y: Tensor | None,
        z: Tensor,
        y_fake: Tensor | None,
        rng: torch.Generator,
        step: int = 0,
    ) -> GanBatch:
        """Put a batch together; see GanBatch for the arguments."""
        judge = next((r.judge for r in self._terms() if r.changes_logits), None)
        return GanBatch(side, self.generator, self.discriminator, x, y, z, y_fake, self.pipe, rng, step, judge)

    def intervals(self, side: Side) -> list[int]:
        """Intervals above 1 of the lazy terms of a side, each once, ascending."""
        return sorted({r.every for r in self._terms() if side in r.sides and r.every > 1})

    def lazy_factor(self, side: Side) -> float:
        """Factor on the rate and power on the betas of a side's optimiser, which its lazy steps share."""
        return lazy_factor(self.intervals(side))

    def d_loss(self, batch: GanBatch) -> dict[str, Tensor]:
        """Give {"loss", "adversarial", each term by name, mean logits} for the discriminator."""
        found = {"adversarial": self.adversarial.d(batch.s_real, batch.s_fake)}
        condition = self.discriminator.condition
        if condition.needs_labels:
            found["condition"] = condition.d_loss(batch.f_real.h, batch.y, batch.f_fake.h, batch.y_fake)
        found.update(self._due(batch, 1))
        self.pipe.observe(batch.s_real.detach(), len(batch.x))
        return _summed(found, s_real=batch.s_real.mean(), s_fake=batch.s_fake.mean())

    def g_loss(self, batch: GanBatch) -> dict[str, Tensor]:
        """Give {"loss", "adversarial", each term by name} for the generator."""
        with frozen(self.discriminator):
            found = {"adversarial": self.adversarial.g(batch.s_fake)}
            condition = self.discriminator.condition
            if condition.needs_labels:
                found["condition"] = condition.g_loss(batch.f_fake.h, batch.y_fake)
            found.update(self._due(batch, 1))
        return _summed(found)

    def lazy_loss(self, batch: GanBatch, every: int) -> dict[str, Tensor]:
        """Give {"loss", each term by name} of the terms of `batch.side` that are due every so many steps."""
        if batch.side == "d":
            return _summed(self._due(batch, every))
        with frozen(self.discriminator):
            return _summed(self._due(batch, every))

    def _terms(self) -> Iterator[Regulariser]:
        for regulariser in self.regularisers:
            assert isinstance(regulariser, Regulariser)
            yield regulariser

    def _due(self, batch: GanBatch, every: int) -> dict[str, Tensor]:
        return {_name(r): r.contribution(batch) for r in self._terms() if batch.side in r.sides and r.every == every}


def check_compatible(regularisers: Sequence[Regulariser]) -> None:
    """Raise ConfigError when regularisers exclude each other."""
    for attribute, rule in (("family", "a run takes one {}"), ("changes_logits", "only one may replace the logits")):
        found: dict[object, str] = {}
        for regulariser in regularisers:
            value = getattr(regulariser, attribute)
            if value and value in found:
                raise ConfigError(
                    f"regularisers {found[value]} and {type(regulariser).__name__} exclude each other: "
                    f"{rule.format(value)}; drop one."
                )
            found[value] = type(regulariser).__name__
    names = [_name(r) for r in regularisers]
    if len(set(names)) < len(names):
        raise ConfigError(f"regularisers are {names}; give each once.")


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let no gradient reach a network's parameters, while gradients still pass through it."""
    wanted = [p for p in network.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def _name(regulariser: Regulariser) -> str:
    return type(regulariser).__name__


def _summed(terms: dict[str, Tensor], **logged: Tensor) -> dict[str, Tensor]:
    total = torch.stack([term.float() for term in terms.values()]).sum()
    return {"loss": total, **{k: v.detach() for k, v in (terms | logged).items()}}
