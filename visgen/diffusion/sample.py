"""Draw latents: guidance with two scales, several steps of any diffusers scheduler, or one step without noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ConfigError
from .config import Sampling

if TYPE_CHECKING:
    from .model import InstructDiffusion

__all__ = ["draw_latents", "forward_passes", "guide", "item_generators", "one_step"]

Denoiser = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def guide(
    denoiser: Denoiser,
    latents: Tensor,
    timestep: Tensor,
    image: Tensor,
    text: Tensor,
    empty: Tensor,
    text_scale: float,
    image_scale: float,
) -> Tensor:
    """Predict with guidance by text and by image, for any scales.

    The prediction is s_T * e(image, text) + (s_I - s_T) * e(image, empty) + (1 - s_I) * e(0, empty). A branch whose
    coefficient is 0 is not computed: both scales at 1 cost one pass.

    Args:
        denoiser: (latents, timestep, image latents, text) -> prediction, all of one batch.
        latents: Noisy latents (B, C, h, w).
        timestep: Scalar, or one per item.
        image: Image latents (B, C, h, w); none is all zeros.
        text: Text states (B, N, D).
        empty: Text states of the empty sentence, (1, N, D).
        text_scale, image_scale: s_T and s_I.
    Source: Brooks et al. 2022, arXiv:2211.09800, section 3.2. diffusers' own pipeline silently drops guidance when
        s_I < 1; here every pair of scales means what it says.
    """
    none = empty.expand_as(text)
    branches = [
        (text_scale, image, text),
        (image_scale - text_scale, image, none),
        (1.0 - image_scale, torch.zeros_like(image), none),
    ]
    used = [branch for branch in branches if branch[0] != 0.0]
    if len(used) == 1:
        weight, one_image, one_text = used[0]
        return weight * denoiser(latents, timestep, one_image, one_text)
    times = timestep.reshape(-1).expand(len(latents)) if timestep.numel() == 1 else timestep
    joined = denoiser(
        torch.cat([latents] * len(used)),
        torch.cat([times] * len(used)),
        torch.cat([branch[1] for branch in used]),
        torch.cat([branch[2] for branch in used]),
    )
    parts = joined.chunk(len(used))
    return torch.stack([branch[0] * part for branch, part in zip(used, parts, strict=True)]).sum(dim=0)


def item_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Give one generator per picture, on the CPU, so that an answer depends on neither batch nor device."""
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def forward_passes(model: InstructDiffusion, sampling: Sampling) -> int:
    """How often the denoiser runs for one batch: once per step, and more often with some schedulers (PNDM)."""
    return 1 if sampling.steps == 1 else len(_schedule(model, sampling).timesteps)


def _schedule(model: InstructDiffusion, sampling: Sampling, device: torch.device | None = None) -> Any:
    """A scheduler of the model's kind with its timesteps set; its state belongs to one drawing alone."""
    scheduler = type(model.scheduler).from_config(model.scheduler.config)
    scheduler.set_timesteps(sampling.steps, device=device)
    return scheduler


@torch.no_grad()
def draw_latents(
    model: InstructDiffusion,
    image: Tensor,
    text: Tensor,
    empty: Tensor,
    sampling: Sampling,
    generators: Sequence[torch.Generator] | None = None,
    noise: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Give clean latents (B, C, h, w), scaled as the VAE's decoder side expects them.

    Args:
        model: The networks and the noise schedule.
        image: Image latents as `model.encode_image` gives them.
        text, empty: Text states (B, N, D) and those of the empty sentence (1, N, D).
        sampling: Steps and scales; one step with both scales at 1 is `one_step`.
        generators: One per picture for the starting noise; None takes seeds 0, 1, ...
        noise: The starting noise itself, in place of generators.
        progress: Called with (passes done, passes in all), of `forward_passes`.
    Raises:
        ConfigError: Not one generator per picture.
    """
    if sampling.steps == 1 and noise is None:
        clean = one_step(model, image, text, empty, sampling.text_scale, sampling.image_scale)
        if progress is not None:
            progress(1, 1)
        return clean
    if noise is None:
        generators = item_generators(range(len(image))) if generators is None else generators
        if len(generators) != len(image):
            raise ConfigError(f"{len(generators)} generators came for {len(image)} pictures; give one for each.")
        shape = (1, model.latent_channels, *image.shape[-2:])
        noise = torch.cat([torch.randn(shape, generator=g) for g in generators])
    scheduler = _schedule(model, sampling, image.device)
    latents = noise.to(image) * scheduler.init_noise_sigma
    extra: dict[str, Any] = {}
    if generators is not None and "generator" in inspect.signature(scheduler.step).parameters:
        extra["generator"] = list(generators)
    for done, t in enumerate(scheduler.timesteps, start=1):
        scaled = scheduler.scale_model_input(latents, t)
        predicted = guide(model.predict, scaled, t, image, text, empty, sampling.text_scale, sampling.image_scale)
        latents = scheduler.step(predicted, t, latents, return_dict=False, **extra)[0]
        if progress is not None:
            progress(done, len(scheduler.timesteps))
    return latents


def one_step(
    model: InstructDiffusion,
    image: Tensor,
    text: Tensor,
    empty: Tensor | None = None,
    text_scale: float = 1.0,
    image_scale: float = 1.0,
) -> Tensor:
    """Predict clean latents (B, C, h, w) in one pass from zeros at the last timestep; gradients pass.

    Raises:
        ConfigError: The network predicts noise, whose division by the almost vanished signal would blow errors up.
    Source: Garcia et al. 2024, arXiv:2409.11355 (one step from zeros with trailing timesteps and a task loss).
    """
    kind = str(model.scheduler.config.prediction_type)
    if kind == "epsilon":
        raise ConfigError(
            "the network predicts noise ('epsilon'), from which one step without noise reads nothing; use more steps, "
            "or train it for 'v_prediction' or 'sample'."
        )
    zeros = torch.zeros_like(image[:, : model.latent_channels])
    last = torch.full((len(image),), model.last_timestep, device=image.device, dtype=torch.long)
    if text_scale == image_scale == 1.0:
        predicted = model.predict(zeros, last, image, text)
    else:
        if empty is None:
            raise ConfigError("guidance needs the text states of the empty sentence; give `empty`.")
        predicted = guide(model.predict, zeros, last, image, text, empty, text_scale, image_scale)
    if kind == "sample":
        return predicted
    sigma = (1 - model.alphas_cumprod[model.last_timestep]).sqrt()
    return -sigma.to(predicted) * predicted
