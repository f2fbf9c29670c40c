"""The loss of a fine-tuning run, with everything that does not train held still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..losses.routing import RoutingLossConfig
from ..task import MultiTaskModel, MultiTaskObjective

__all__ = ["FinetuneObjective", "hold_still"]


class FinetuneObjective(MultiTaskObjective):
    """A MultiTaskObjective whose frozen parts stay in evaluation mode: no dropout, no new batch statistics.

    Where one task trains and no weight of the routing losses but that of the mutual information is set, the routing
    losses are left out: one task alone has no information to share among experts.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        loss_weights: Mapping[str, float] | None = None,
        class_weights: Mapping[str, Tensor] | None = None,
        loss_options: Mapping[str, Mapping[str, Any]] | None = None,
        routing: RoutingLossConfig | None = None,
    ) -> None:
        super().__init__(model, loss_weights, class_weights, loss_options, routing)
        weights = routing or RoutingLossConfig()
        if not any((weights.balance, weights.importance, weights.z, weights.entropy, weights.sharpen)):
            self.routing = None
            if "routing" in self.module:
                del self.module["routing"]

    def before_step(self, step: int) -> None:
        """Put frozen parts into evaluation mode, which the trainer has just ended."""
        super().before_step(step)
        hold_still(self.model)


def hold_still(module: nn.Module) -> None:
    """Put every part of a module that has parameters, none of which trains, into evaluation mode, in place.

    A part without parameters, such as dropout, goes with the part that it belongs to; batch norm without a parameter
    that trains always holds still.
    """
    if module.training:
        _hold(module, any(p.requires_grad for p in module.parameters()))


def _hold(module: nn.Module, trains: bool) -> None:
    module.training = trains
    for child in module.children():
        own = list(child.parameters())
        is_trained = any(p.requires_grad for p in own)
        inherits = not own and not isinstance(child, _BatchNorm)
        _hold(child, trains if inherits else is_trained)
