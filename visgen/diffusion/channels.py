"""The input convolution of a denoiser: more channels for a picture, and the channel orders of other families."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError, nearest
from .config import CHANNEL_ORDERS

if TYPE_CHECKING:
    from .model import InstructDiffusion

__all__ = ["convert_conv_in", "expand_conv_in", "join_latents", "use_common_layout"]


def join_latents(noisy: Tensor, image: Tensor, order: str = "noisy_image") -> Tensor:
    """Put noisy latents (B, C, h, w) and image latents (B, C, h, w) beside one another along the channels."""
    return torch.cat([noisy, image] if order == "noisy_image" else [image, noisy], dim=1)


@torch.no_grad()
def expand_conv_in(unet: Any, channels: int = 4, order: str = "noisy_image") -> None:
    """Give a text-to-image denoiser room for image latents, in place; what it predicts does not change.

    The new slices are zero, and the old weights and the bias are copied. (The published training example of
    InstructPix2Pix in diffusers once left the bias at its random start, huggingface/diffusers#4960.)

    Args:
        unet: A diffusers UNet2DConditionModel.
        channels: Channels to add.
        order: Where the image latents will stand.
    Raises:
        ConfigError: An order that is not known.
    """
    _check(order)
    old = unet.conv_in
    new = nn.Conv2d(
        old.in_channels + channels,
        old.out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        bias=old.bias is not None,
        device=old.weight.device,
        dtype=old.weight.dtype,
    )
    new.weight.zero_()
    start = 0 if order == "noisy_image" else channels
    new.weight[:, start : start + old.in_channels] = old.weight
    if old.bias is not None and new.bias is not None:
        new.bias.copy_(old.bias)
    unet.conv_in = new
    unet.register_to_config(in_channels=new.in_channels)


@torch.no_grad()
def convert_conv_in(
    unet: Any,
    scaling_factor: float,
    order: str,
    image_latents_scaled: bool,
    to_order: str = "noisy_image",
    to_scaled: bool = False,
) -> None:
    """Rewrite the input convolution of an 8-channel denoiser for another layout of the same input, in place.

    Args:
        unet: A denoiser whose input is noisy and image latents in equal parts.
        scaling_factor: Of its VAE.
        order, image_latents_scaled: The layout it was trained with.
        to_order, to_scaled: The layout it shall take; the defaults are those of InstructPix2Pix.
    Raises:
        ConfigError: An order that is not known, or an odd number of channels.
    """
    _check(order)
    _check(to_order)
    weight = unet.conv_in.weight
    if weight.shape[1] % 2:
        raise ConfigError(f"the denoiser takes {weight.shape[1]} channels; noisy and image latents are equal halves.")
    halves = dict(zip(order.split("_"), weight.clone().chunk(2, dim=1), strict=True))
    # A network trained on scaled latents s * c sees c from now on, so its slices take the factor over; and back.
    factor = scaling_factor ** (int(image_latents_scaled) - int(to_scaled))
    halves["image"] = halves["image"] * factor
    weight.copy_(torch.cat([halves[name] for name in to_order.split("_")], dim=1))


def use_common_layout(model: InstructDiffusion) -> InstructDiffusion:
    """Bring the denoiser's input into the layout of InstructPix2Pix, in place; answers stay as they are."""
    config = model.config
    convert_conv_in(model.unet, model.scaling_factor, config.channel_order, config.image_latents_scaled)
    model.config = replace(config, channel_order="noisy_image", image_latents_scaled=False)
    return model


def _check(order: str) -> None:
    if order not in CHANNEL_ORDERS:
        raise ConfigError(
            f"channel order '{order}' is not known{nearest(order, CHANNEL_ORDERS)} Use {' or '.join(CHANNEL_ORDERS)}."
        )
