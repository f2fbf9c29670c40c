"""Averaged weights: an exponential moving average of a module's parameters and buffers."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """Hold a copy of a module whose state follows it: average <- decay * average + (1 - decay) * current.

    Own code instead of timm's ModelEmaV3 because a restart has to continue the number of updates, which the warm-up
    needs, and because buffers that are not float are copied, not averaged.

    Args:
        module: The module to follow; copied, set to evaluation mode, without gradients.
        decay: Between 0 and 1.
        warmup: Use min(decay, (1 + n) / (10 + n)) at update n, so that the first weights are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float, warmup: bool = True) -> None:
        self.decay = decay
        self.warmup = warmup
        self.updates = 0
        self.module = deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards `module`."""
        self.updates += 1
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = self.module.state_dict(), module.state_dict()
        seen: set[int] = set()
        for name, average in ours.items():
            if average.numel() and average.data_ptr() in seen:
                continue  # a tensor under two names moves once
            seen.add(average.data_ptr())
            if average.is_floating_point():
                average.lerp_(theirs[name].to(average.dtype), 1 - decay)
            else:
                average.copy_(theirs[name])
