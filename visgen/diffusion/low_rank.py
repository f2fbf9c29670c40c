"""Low-rank training of a denoiser: updates of its attention, and the input convolution in full."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import ConfigError
from ..nn.low_rank import LowRankLinear

__all__ = ["add_low_rank", "merge_low_rank"]

PROJECTIONS = ("to_q", "to_k", "to_v")


def add_low_rank(unet: Any, rank: int) -> int:
    """Freeze a denoiser but for its input convolution, and give each projection of its attention a low-rank update.

    Args:
        unet: A diffusers UNet2DConditionModel; changed in place, its predictions are not.
        rank: Inner width of the updates.
    Returns:
        Number of trained parameters.
    Raises:
        ConfigError: It has no attention, or the rank is too large for one of its layers.
    """
    unet.requires_grad_(False)
    unet.conv_in.requires_grad_(True)
    found = 0
    for module in list(unet.modules()):
        for name in PROJECTIONS:
            linear = getattr(module, name, None)
            if isinstance(linear, nn.Linear):
                setattr(module, name, LowRankLinear(linear, rank))
                found += 1
        out = getattr(module, "to_out", None)
        if isinstance(out, nn.ModuleList) and isinstance(out[0], nn.Linear):
            out[0] = LowRankLinear(out[0], rank)
            found += 1
    if not found:
        raise ConfigError("the denoiser has no attention to update; train it in full (lora: 0).")
    return sum(p.numel() for p in unet.parameters() if p.requires_grad)


def merge_low_rank(unet: Any) -> None:
    """Put the updates into the weights, in place: the denoiser is then one that diffusers saves and loads."""
    for module in list(unet.modules()):
        for name in PROJECTIONS:
            linear = getattr(module, name, None)
            if isinstance(linear, LowRankLinear):
                setattr(module, name, linear.merged())
        out = getattr(module, "to_out", None)
        if isinstance(out, nn.ModuleList) and isinstance(out[0], LowRankLinear):
            out[0] = out[0].merged()
