"""Training of an instruction model as the engine sees it: one objective for its VAE, one for its denoiser and text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch
from ..diffusion import AutoencoderLoss, DenoisingLoss, InstructDiffusion, LatentBatch, autoencoder_loss, denoising_loss
from ..diffusion.portable import build_described, describe_model
from ..errors import ConfigError
from .objective import Phase

__all__ = ["AutoencoderObjective", "DenoisingObjective", "with_diffusion"]


def with_diffusion(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the options of a backbone of diffusion features twice: with the model itself, and with its description.

    Args:
        options: Its "model" is an InstructDiffusion, or a description of one (whose weights a checkpoint fills).
    Raises:
        ConfigError: It is neither.
    """
    model = options.get("model")
    if isinstance(model, InstructDiffusion):
        return dict(options), {**options, "model": describe_model(model)}
    if isinstance(model, Mapping):
        return {**options, "model": build_described(model)}, dict(options)
    raise ConfigError(
        f"the model of backbone diffusion_features is a {type(model).__name__}; give an InstructDiffusion, such as "
        "visgen.load_model('visgen-instruct-tiny') loads."
    )


class AutoencoderObjective:
    """The VAE alone; batches are pictures whose meta says whether they are answers.

    Args:
        model: The instruction model; only its VAE is trained.
        options: Weights of the loss.
        decoder_only: Leave the encoder, and so all latents, as they are.
    """

    def __init__(
        self, model: InstructDiffusion, options: AutoencoderLoss | None = None, decoder_only: bool = False
    ) -> None:
        self.options = options or AutoencoderLoss()
        self.module = nn.ModuleDict({"vae": model.vae})
        if decoder_only:
            for part in (model.vae.encoder, model.vae.quant_conv):
                part.requires_grad_(False)
        self.phases = (Phase("vae", lambda: [{"params": list(model.vae.parameters())}], self.loss),)

    def before_step(self, step: int) -> None:
        """Nothing to prepare."""

    def after_step(self, step: int) -> None:
        """Nothing to follow."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Reconstruction loss of a batch of pictures."""
        is_answer = torch.tensor([bool(m.get("is_answer")) for m in batch.meta], device=batch.images.device)
        return autoencoder_loss(self.module["vae"], batch.images * 2 - 1, is_answer, self.options)


class DenoisingObjective:
    """Denoiser and, where it is trained too, text encoder, on cached latents.

    Args:
        model: The instruction model; its VAE stays as it is.
        options: Shares and weights of the two modes.
        train_text: Train the text encoder too: for one that starts from nothing. A pretrained one stays frozen.
    """

    def __init__(self, model: InstructDiffusion, options: DenoisingLoss | None = None, train_text: bool = True) -> None:
        self.model, self.options, self.train_text = model, options or DenoisingLoss(), train_text
        trained: dict[str, Any] = {"unet": model.unet}
        if train_text:
            trained["text_encoder"] = model.text_encoder
        self.module = nn.ModuleDict(trained)
        model.vae.requires_grad_(False)
        model.text_encoder.requires_grad_(train_text)
        self.phases = (Phase("denoise", lambda: [{"params": list(self.module.parameters())}], self.loss),)

    def before_step(self, step: int) -> None:
        """Text states of the last step are stale, and what is not trained goes where the denoiser was brought."""
        if self.model.alphas_cumprod.device != self.model.device:
            self.model.to(self.model.device)
        self.model.forget_texts()

    def after_step(self, step: int) -> None:
        """Nothing to follow."""

    def loss(self, batch: LatentBatch) -> dict[str, Tensor]:
        """Denoising loss of a batch of latents with instructions."""
        with torch.set_grad_enabled(self.train_text):
            text = self.model.embed([*batch.texts, ""])
        return denoising_loss(self.model, batch, text[:-1], text[-1:], self.options)
