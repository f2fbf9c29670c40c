"""Training of the VAE: reconstruction of photographs and answers, and latents of spread 1 at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError

__all__ = ["AutoencoderLoss", "autoencoder_loss", "edge_weights", "standardise_latents"]


@dataclass(frozen=True)
class AutoencoderLoss:
    """Weights of the loss.

    Attributes:
        kl: On the divergence of the latents from a standard normal.
        edge: Extra weight of the pixels at the borders of an answer's regions.
        square: On the squared error, beside the absolute one.
        noise: Standard deviation of the noise on the latents before they are decoded, relative to their own: the
            decoder must live with latents that a denoiser gets only nearly right.
    """

    kl: float = 1e-6
    edge: float = 4.0
    square: float = 0.5
    noise: float = 0.1


def edge_weights(pictures: Tensor, extra: float) -> Tensor:
    """Weights (B, 1, H, W) of pixels: 1, and `1 + extra` within a pixel of a step of more than 0.25 in any channel."""
    step_down = (pictures[:, :, 1:] - pictures[:, :, :-1]).abs().amax(dim=1, keepdim=True)
    step_right = (pictures[:, :, :, 1:] - pictures[:, :, :, :-1]).abs().amax(dim=1, keepdim=True)
    edges = F.pad(step_down, (0, 0, 0, 1)).maximum(F.pad(step_right, (0, 1, 0, 0))) > 0.25
    return 1 + extra * F.max_pool2d(edges.float(), 3, 1, 1)


def autoencoder_loss(vae: Any, pictures: Tensor, is_answer: Tensor, options: AutoencoderLoss) -> dict[str, Tensor]:
    """Give the loss of a batch.

    Args:
        vae: diffusers AutoencoderKL.
        pictures: (B, 3, H, W) in [-1, 1].
        is_answer: (B,) bool: answers get the weight on edges, photographs do not.
        options: Weights.
    """
    encoded = vae.encode(pictures).latent_dist
    latents = encoded.mode()
    spread = latents.detach().std().clamp(min=1e-3)
    noisy = latents + options.noise * spread * torch.randn_like(latents)
    again = vae.decode(noisy).sample
    weights = torch.where(is_answer[:, None, None, None], edge_weights(pictures, options.edge), 1.0)
    error = again - pictures
    absolute = (error.abs() * weights).sum() / (weights.sum() * pictures.shape[1])
    squared = (error.square() * weights).sum() / (weights.sum() * pictures.shape[1])
    kl = encoded.kl().mean()
    with torch.no_grad():
        photo = error[~is_answer].square().mean() if bool((~is_answer).any()) else error.new_zeros(())
        answer = error[is_answer].square().mean() if bool(is_answer.any()) else error.new_zeros(())
    return {
        "loss": absolute + options.square * squared + options.kl * kl,
        "l1": absolute.detach(),
        "mse/photo": photo,
        "mse/answer": answer,
    }


@torch.no_grad()
def standardise_latents(vae: Any, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Give the VAE latents of mean 0 and standard deviation 1 in each channel, in place; reconstructions do not change.

    The numbers go into the 1 x 1 convolutions after the encoder and before the decoder, so that the scaling factor is 1
    and image latents and answer latents have the same scale, whatever a pipeline multiplies them with.

    Args:
        vae: diffusers AutoencoderKL with these convolutions.
        batches: Pictures (B, 3, H, W) in [-1, 1], photographs and answers.
    Returns:
        Mean and standard deviation (C,) that were taken out.
    Raises:
        ConfigError: The VAE has no such convolutions.
    """
    if getattr(vae, "quant_conv", None) is None or getattr(vae, "post_quant_conv", None) is None:
        raise ConfigError("the VAE has no quant_conv and post_quant_conv; build it with both to standardise latents.")
    total, square, count = 0.0, 0.0, 0
    for pictures in batches:
        latents = vae.encode(pictures.to(vae.quant_conv.weight)).latent_dist.mode().double()
        total = total + latents.sum(dim=(0, 2, 3))
        square = square + latents.square().sum(dim=(0, 2, 3))
        count += latents.shape[0] * latents.shape[2] * latents.shape[3]
    mean = torch.as_tensor(total) / count
    deviation = (torch.as_tensor(square) / count - mean.square()).clamp(min=1e-12).sqrt()
    mean, deviation = mean.float(), deviation.float()
    channels = len(mean)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:channels] /= deviation[:, None, None, None]
    into.bias[:channels] = (into.bias[:channels] - mean) / deviation
    into.bias[channels:] -= 2 * deviation.log()
    out.bias += (out.weight[:, :, 0, 0] * mean).sum(dim=1)
    out.weight *= deviation[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0)
    return mean, deviation
