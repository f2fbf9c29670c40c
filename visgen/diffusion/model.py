"""Latent diffusion that edits a picture by an instruction, in the layout of InstructPix2Pix.

The networks are those of diffusers and transformers: a VAE, a denoiser with cross-attention on text whose input holds
noisy and image latents side by side, and a CLIP text encoder. Pictures are in [-1, 1] here, as in the codecs.

Source: Brooks et al. 2022, arXiv:2211.09800.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError
from .channels import join_latents
from .config import FAST, DiffusionConfig, Sampling
from .sample import draw_latents, item_generators, one_step

__all__ = ["InstructDiffusion"]

_TEXT_CACHE = 4096


class InstructDiffusion(nn.Module):
    """A VAE, a denoiser, a text encoder with its tokenizer and a noise schedule.

    Args:
        vae: diffusers AutoencoderKL or AutoencoderTiny.
        unet: diffusers UNet2DConditionModel that takes noisy and image latents.
        text_encoder: transformers CLIPTextModel.
        tokenizer: transformers CLIPTokenizer.
        scheduler: A diffusers scheduler.
        config: What these do not say.
    Raises:
        DataError: The denoiser's input is not two sets of latents.
    """

    alphas_cumprod: Tensor

    def __init__(
        self,
        vae: Any,
        unet: Any,
        text_encoder: Any,
        tokenizer: Any,
        scheduler: Any,
        config: DiffusionConfig | None = None,
    ) -> None:
        super().__init__()
        self.vae, self.unet, self.text_encoder = vae, unet, text_encoder
        self.tokenizer, self.scheduler, self.config = tokenizer, scheduler, config or DiffusionConfig()
        self.latent_channels = int(vae.config.latent_channels)
        if unet.config.in_channels != 2 * self.latent_channels:
            raise DataError(
                f"the denoiser takes {unet.config.in_channels} channels but the VAE has {self.latent_channels}; noisy "
                f"and image latents need {2 * self.latent_channels}: load with expand_conv_in=True."
            )
        self.register_buffer("alphas_cumprod", scheduler.alphas_cumprod.clone().float(), persistent=False)
        self._texts: OrderedDict[str, Tensor] = OrderedDict()
        self.register_load_state_dict_post_hook(_forget_texts)

    @property
    def scaling_factor(self) -> float:
        """Factor on latents that makes their spread about 1."""
        return float(self.vae.config.scaling_factor)

    @property
    def last_timestep(self) -> int:
        """The noisiest timestep."""
        return int(self.scheduler.config.num_train_timesteps) - 1

    @property
    def tokens(self) -> int:
        """Tokens that a sentence may have, begin and end included."""
        return int(self.text_encoder.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where the denoiser computes."""
        return next(self.unet.parameters()).device

    def encode_target(self, pictures: Tensor) -> Tensor:
        """Give the scaled latents of pictures (B, 3, H, W) in [-1, 1]: the mode of the encoder, times the factor."""
        return self._mode(pictures) * self.scaling_factor

    def encode_image(self, pictures: Tensor) -> Tensor:
        """Give the image latents that condition the denoiser; the mode, scaled only where the family does so."""
        latents = self._mode(pictures)
        return latents * self.scaling_factor if self.config.image_latents_scaled else latents

    def _mode(self, pictures: Tensor) -> Tensor:
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise DataError(f"pictures are {tuple(pictures.shape)}; the encoder takes RGB (B, 3, H, W) in [-1, 1].")
        encoded = self.vae.encode(pictures.to(next(self.vae.parameters())))
        return encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents

    def decode(self, latents: Tensor) -> Tensor:
        """Give pictures (B, 3, H, W) of scaled latents; values may leave [-1, 1] a little."""
        return self.vae.decode(latents / self.scaling_factor).sample

    def tokenise(self, texts: Sequence[str]) -> Tensor:
        """Give token ids (B, tokens), int64.

        Raises:
            DataError: A sentence is too long for the text encoder; nothing is cut off in silence.
        """
        ids = self.tokenizer(list(texts), padding="max_length", max_length=self.tokens)["input_ids"]
        for text, row in zip(texts, ids, strict=True):
            if len(row) > self.tokens:
                raise DataError(
                    f"the instruction '{text}' has {len(row)} tokens but the text encoder takes {self.tokens}; "
                    "say it in fewer words."
                )
        return torch.tensor(ids, dtype=torch.int64, device=self.device)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Give text states (B, tokens, D) of sentences, with gradients and without the cache: for training."""
        return self.text_encoder(self.tokenise(texts))[0]

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Give text states (B, tokens, D); sentences seen before come from a cache.

        `train`, `load_state_dict` and moves to a device or type empty it; see `forget_texts`.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        for start in range(0, len(new), 64):
            some = new[start : start + 64]
            self._texts.update(zip(some, self.embed(some), strict=True))
        states = torch.stack([self._texts[text] for text in texts])
        for text in texts:
            self._texts.move_to_end(text)
        while len(self._texts) > _TEXT_CACHE:
            self._texts.popitem(last=False)
        return states

    def forget_texts(self) -> None:
        """Empty the cache of text states; weights that change need it."""
        self._texts.clear()

    def train(self, mode: bool = True) -> InstructDiffusion:
        self.forget_texts()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> InstructDiffusion:
        self.forget_texts()
        return super()._apply(fn, recurse)

    def predict(self, noisy: Tensor, timestep: Tensor, image: Tensor, text: Tensor) -> Tensor:
        """Run the denoiser once: what it gives (v, noise or sample) is told by `scheduler.config.prediction_type`."""
        joined = join_latents(noisy, image, self.config.channel_order)
        return self.unet(joined, timestep, encoder_hidden_states=text, return_dict=False)[0]

    def predict_x0(self, image: Tensor, text: Tensor) -> Tensor:
        """Give clean latents in one pass without noise; see `visgen.diffusion.sample.one_step`."""
        return one_step(self, image, text)

    def denoise(
        self,
        image: Tensor,
        text: Tensor,
        sampling: Sampling = FAST,
        seeds: Sequence[int] | None = None,
        noise: Tensor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Give clean latents for image latents and text states; see `visgen.diffusion.sample.draw_latents`."""
        generators = None if seeds is None else item_generators(seeds)
        empty = self.encode_text([""])
        return draw_latents(self, image, text, empty, sampling, generators, noise, progress)

    @torch.no_grad()
    def answer(
        self,
        pictures: Tensor,
        instructions: Sequence[str],
        sampling: Sampling = FAST,
        seeds: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Give the answering pictures (B, 3, H, W) in [-1, 1].

        Args:
            pictures: (B, 3, H, W) in [-1, 1], H and W multiples of the VAE's stride; one picture may serve all.
            instructions: One per answer.
            sampling: Steps and scales.
            seeds: One per answer; it alone settles the noise, whatever else is in the batch.
            progress: Called with (passes of the denoiser done, passes in all).
        """
        return self.answer_encoded(self.encode_image(pictures.to(self.device)), instructions, sampling, seeds, progress)

    @torch.no_grad()
    def answer_encoded(
        self,
        image: Tensor,
        instructions: Sequence[str],
        sampling: Sampling = FAST,
        seeds: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Give the answers as `answer` does, from image latents (B or 1, C, h, w) that `encode_image` gave."""
        if len(image) == 1 and len(instructions) > 1:
            image = image.expand(len(instructions), -1, -1, -1)
        if len(image) != len(instructions):
            raise DataError(f"{len(image)} pictures came with {len(instructions)} instructions; give one for each.")
        latents = self.denoise(image, self.encode_text(instructions), sampling, seeds, progress=progress)
        return self.decode(latents).clamp(-1, 1)

    def save_pretrained(self, folder: str | Path, dtype: str = "float32") -> Path:
        """Write a folder that diffusers' StableDiffusionInstructPix2PixPipeline reads too."""
        from .folder import write_pipeline_folder

        return write_pipeline_folder(self, Path(folder), dtype)

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, expand_conv_in: bool = False, **settings: Any) -> InstructDiffusion:
        """Load our own folder, any folder in InstructPix2Pix layout, or a Stable Diffusion folder to start from.

        Args:
            folder: A diffusers pipeline folder on this machine; nothing is downloaded.
            expand_conv_in: Give a 4-channel denoiser room for image latents (`visgen.diffusion.channels`).
            settings: Values of DiffusionConfig that replace what the folder says.
        """
        from .folder import read_pipeline_folder

        return read_pipeline_folder(Path(folder), expand_conv_in, settings)


def _forget_texts(model: InstructDiffusion, _: object) -> None:
    """A hook of `load_state_dict`: text states of the weights before are stale."""
    model.forget_texts()
