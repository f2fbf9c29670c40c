"""Adversarial losses: pairs of pure functions of the logits, means over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ..registry import Registry

__all__ = ["ADVERSARIAL", "AdversarialLoss"]


class AdversarialLoss(NamedTuple):
    """What each side minimises.

    Attributes:
        d: (logits of reals, logits of fakes) -> scalar for the discriminator.
        g: (logits of fakes) -> scalar for the generator.
    """

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[[Tensor], Tensor]


ADVERSARIAL: Registry[AdversarialLoss] = Registry("adversarial loss", "An AdversarialLoss: a pair of pure functions.")


def d_non_saturating(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-real) + softplus(fake): cross entropy of real against fake."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def g_non_saturating(fake: Tensor) -> Tensor:
    """softplus(-fake), whose gradient does not vanish where the discriminator is sure."""
    return F.softplus(-fake).mean()


def d_least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """Half the squared distance of reals from 1 and of fakes from 0."""
    return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


def g_least_squares(fake: Tensor) -> Tensor:
    """Half the squared distance of fakes from 1."""
    return 0.5 * (fake - 1).square().mean()


def d_hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Reals below 1 and fakes above -1 cost what they lack."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def g_linear(fake: Tensor) -> Tensor:
    """Minus the logit: the generator of both the hinge and the Wasserstein loss."""
    return -fake.mean()


def d_wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """Fakes less reals; the discriminator must be kept Lipschitz by a penalty or by spectral norm."""
    return fake.mean() - real.mean()


# Goodfellow et al. 2014, arXiv:1406.2661; Mao et al. 2016, arXiv:1611.04076; Lim and Ye 2017, arXiv:1705.02894;
# Arjovsky et al. 2017, arXiv:1701.07875.
ADVERSARIAL.register("non_saturating")(AdversarialLoss(d_non_saturating, g_non_saturating))
ADVERSARIAL.register("least_squares")(AdversarialLoss(d_least_squares, g_least_squares))
ADVERSARIAL.register("hinge")(AdversarialLoss(d_hinge, g_linear))
ADVERSARIAL.register("wasserstein")(AdversarialLoss(d_wasserstein, g_linear))
