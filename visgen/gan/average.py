"""Averaged generator weights, by half-life in images, and batch-norm statistics measured by sampling."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["GeneratorAverage", "measure_norm_statistics"]


class GeneratorAverage(nn.Module):
    """A copy of a generator whose parameters follow it; buffers are copied.

    Part of the trained module, not of the engine's averaging: only the generator is averaged, and the half-life is in
    images, so that it does not depend on the batch size.

    Args:
        generator: The network to follow.
        half_life: Images after which the weight of the past has halved; 0 copies the generator.
        ramp_up: While few images were seen, the half-life is at most this share of them.
    Source: Karras et al. 2020, arXiv:2006.06676, appendix (half-life and ramp-up).
    """

    seen: Tensor

    def __init__(self, generator: nn.Module, half_life: float = 10_000, ramp_up: float = 0.05) -> None:
        super().__init__()
        if half_life < 0 or not ramp_up > 0:
            raise ConfigError(f"half_life is {half_life} and ramp_up {ramp_up}; use 0 or more, and above 0.")
        self.half_life, self.ramp_up = half_life, ramp_up
        self.network = deepcopy(generator).requires_grad_(False).eval()
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> GeneratorAverage:
        """Stay in evaluation mode: nobody trains an average."""
        return super().train(False)

    @torch.no_grad()
    def update(self, generator: nn.Module, images: int) -> float:
        """Follow the generator after a step over so many images; gives the share of the past that was kept."""
        self.seen += images
        half_life = min(self.half_life, self.ramp_up * float(self.seen))
        kept = 0.5 ** (images / half_life) if half_life > 0 else 0.0
        for mine, theirs in zip(self.network.parameters(), generator.parameters(), strict=True):
            mine.lerp_(theirs, 1 - kept)
        for average, current in zip(self.network.buffers(), generator.buffers(), strict=True):
            average.copy_(current)
        return kept


@torch.no_grad()
def measure_norm_statistics(network: nn.Module, sample: Callable[[], object], passes: int = 16) -> int:
    """Set the running statistics of all batch norms to their mean over fresh samples, in place.

    The statistics gathered in training are of other weights than the averaged ones.

    Args:
        network: Its batch norms are re-measured; other layers and the mode stay.
        sample: Runs the network once on a fresh batch.
        passes: How often.
    Returns:
        The number of batch norms.
    Source: Brock et al. 2018, arXiv:1809.11096 ("standing statistics").
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    modes = [norm.training for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over passes
        norm.train()
    try:
        for _ in range(passes if norms else 0):
            sample()
    finally:
        for norm, momentum, mode in zip(norms, momenta, modes, strict=True):
            norm.momentum = momentum
            norm.train(mode)
    return len(norms)
