"""The noise of a camera on what a network draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import ConfigError

__all__ = ["add_camera_noise", "check_grain"]


def check_grain(grain: Sequence[float]) -> None:
    """Raise ConfigError unless `grain` is a range of standard deviations on the scale 0..1."""
    given = list(grain) if isinstance(grain, Sequence) else grain
    if not isinstance(given, list) or len(given) != 2 or not 0 <= given[0] <= given[1] <= 1:
        raise ConfigError(f"grain is {given}; give two standard deviations in 0..1, the smaller first.")


def add_camera_noise(images: Tensor, grain: Sequence[float], rng: torch.Generator | None = None) -> Tensor:
    """Add Gaussian noise to images (B, 3, H, W) in [-1, 1], which stay there.

    Args:
        grain: Range, on the scale 0..1, of the standard deviation, which is drawn anew for each image.
        rng: Draws, on the CPU; None uses torch's own of the device.
    """
    low, high = grain
    device = images.device if rng is None else "cpu"
    sigma = low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=rng, device=device)
    noise = torch.randn(images.shape, generator=rng, device=device, dtype=images.dtype)
    return (images + 2 * (sigma * noise).to(images.device)).clamp(-1, 1)
