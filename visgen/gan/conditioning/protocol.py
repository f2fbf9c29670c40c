"""How labels enter a discriminator: the contract, and the condition that ignores them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...registry import Registry

__all__ = ["CONDITIONS", "Condition", "Unconditional"]

CONDITIONS: Registry[Any] = Registry(
    "condition", "A Condition class, built as (width, n_classes, **options); it owns the heads that read labels."
)


class Condition(nn.Module):
    """Base of all conditions.

    Args:
        width: D, the width of the discriminator's vector h.
        n_classes: K, at least 1.
    """

    needs_labels = True

    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__()
        if self.needs_labels and n_classes < 1:
            raise ConfigError(
                f"condition {type(self).__name__} got {n_classes} classes; train on data with labels, or use 'none'."
            )
        self.width, self.n_classes = width, n_classes

    def logit(self, base: Tensor, h: Tensor, y: Tensor | None) -> Tensor:
        """Turn the unconditional logit (B,) or (B, P) into the conditional one; h is (B, D), y (B,) int64."""
        return base

    def d_loss(self, h_real: Tensor, y_real: Tensor | None, h_fake: Tensor, y_fake: Tensor | None) -> Tensor:
        """What the discriminator adds to its adversarial loss; zero when unused."""
        return torch.zeros((), device=h_real.device)

    def g_loss(self, h_fake: Tensor, y_fake: Tensor | None) -> Tensor:
        """What the generator adds to its adversarial loss; zero when unused."""
        return torch.zeros((), device=h_fake.device)


@CONDITIONS.register("none")
class Unconditional(Condition):
    """Ignores labels."""

    needs_labels = False

    def __init__(self, width: int = 1, n_classes: int = 0) -> None:
        super().__init__(width, n_classes)
