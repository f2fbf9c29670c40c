"""What a regulariser is: a term that one side or both add to their adversarial loss, every so many steps."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import Registry
from ..batch import GanBatch

__all__ = ["REGULARISERS", "Regulariser", "lazy_factor"]

REGULARISERS: Registry[Any] = Registry("GAN regulariser", "A Regulariser class: forward(batch) gives a scalar term.")


def lazy_factor(intervals: tuple[int, ...] | list[int]) -> float:
    """Give c by which an optimiser's rate is multiplied, and to which its betas are raised, when it also takes lazy
    steps every so many steps: every / (every + 1) for one interval.

    Source: Karras et al. 2020, arXiv:1912.04958, appendix B.
    """
    return 1.0 / (1.0 + sum(1.0 / every for every in intervals))


class Regulariser(nn.Module):
    """Base of all regularisers; what they remember between steps is a buffer, so that a restart continues it.

    Attributes:
        sides: Where the term belongs: "d", "g" or both.
        family: Of regularisers with the same family, a run takes at most one; "" for no such rule.
        changes_logits: True when `judge` takes the place of the discriminator's logits.

    Args:
        weight: Factor on the term.
        every: The term is due on steps that this number divides; when it is above 1 it runs in a phase of its own and
            counts `every`-fold, so that its pull over time does not depend on it.
    """

    sides: ClassVar[tuple[str, ...]] = ("d",)
    family: ClassVar[str] = ""

    def __init__(self, weight: float = 1.0, every: int = 1) -> None:
        super().__init__()
        if weight < 0 or every < 1:
            raise ConfigError(
                f"{type(self).__name__} got weight {weight} and every {every}; use 0 or more and 1 or more."
            )
        self.weight, self.every = weight, every

    @property
    def changes_logits(self) -> bool:
        return False

    def forward(self, batch: GanBatch) -> Tensor:
        """Give the term, without weight, for `batch.side`: a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define forward.")

    def judge(self, batch: GanBatch, part: str) -> Tensor:
        """Give the logits (B,) of `part`, "real" or "fake", where `changes_logits` is true."""
        raise NotImplementedError(f"{type(self).__name__} leaves the logits alone.")

    def contribution(self, batch: GanBatch) -> Tensor:
        """Give what is added to the loss: term * weight * every."""
        return self.forward(batch) * (self.weight * self.every)


def input_gradient(discriminator: nn.Module, x: Tensor, y: Tensor | None, pipe: Any, rng: torch.Generator) -> Tensor:
    """Give d(sum of logits)/dx, differentiable, for images x before augmentation; in float32 whatever autocast says."""
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        x = x.detach().float().requires_grad_(True)
        s = discriminator(pipe(x, rng), y)
        (gradient,) = torch.autograd.grad(s.sum(), x, create_graph=True)
    return gradient
