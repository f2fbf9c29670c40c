"""Build a small instruction model with fresh weights: networks, tokenizer and noise schedule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ConfigError
from ..options import build_options
from .config import DiffusionConfig
from .model import InstructDiffusion

__all__ = ["TinyConfig", "build_tiny", "train_tokenizer"]

BEGIN, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of a small model; the defaults give 4.0 million parameters.

    Attributes:
        size: Side of the canvas in pixels, a multiple of 16.
        vae_widths: Channels of the VAE's levels; each level but the last halves the picture.
        vae_groups: Groups of its norms.
        unet_widths: Channels of the denoiser's levels; all but the finest attend to the text. Every block also takes
            the pooled text with its timestep, by scale and shift, so that the finest level knows the instruction too.
        unet_groups: Groups of its norms.
        text_width, text_layers, text_heads: Of the text encoder.
        tokens: Longest sentence in tokens, begin and end included.
        vocabulary: Most entries of the tokenizer.
    Raises:
        ConfigError: Sizes that do not fit one another.
    """

    size: int = 64
    vae_widths: tuple[int, ...] = (16, 32, 64)
    vae_groups: int = 8
    unet_widths: tuple[int, ...] = (32, 64, 96)
    unet_groups: int = 16
    text_width: int = 96
    text_layers: int = 3
    text_heads: int = 4
    tokens: int = 32
    vocabulary: int = 1536

    def __post_init__(self) -> None:
        stride = 2 ** (len(self.vae_widths) + len(self.unet_widths) - 2)
        if self.size % stride:
            raise ConfigError(f"size is {self.size}; with these levels it must be a multiple of {stride}.")
        for name, widths, groups in (
            ("vae", self.vae_widths, self.vae_groups),
            ("unet", self.unet_widths, self.unet_groups),
        ):
            if any(width % groups for width in widths):
                raise ConfigError(f"{name}_widths is {widths}; each must be a multiple of {name}_groups, {groups}.")
        if self.text_width % self.text_heads:
            raise ConfigError(f"text_width is {self.text_width}; it must be a multiple of {self.text_heads} heads.")


def train_tokenizer(sentences: Iterable[str], vocabulary: int, tokens: int) -> Any:
    """Learn a byte-level BPE tokenizer of CLIP's kind (lower case, words split first) from sentences.

    Entries are the two marks, each byte inside and each at the end of a word, and what was merged, in this order: the
    same corpus gives the same ids.

    Args:
        sentences: The corpus; any iterable, read once.
        vocabulary: Most entries, at least 514 (each byte inside and at the end of a word, and two marks).
        tokens: Longest sentence.
    Raises:
        ConfigError: Too small a vocabulary.
    """
    import json

    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import CLIPTokenizer

    if vocabulary < 514:
        raise ConfigError(f"vocabulary is {vocabulary}; a byte-level tokenizer needs at least 514 entries.")
    marks = {"bos_token": BEGIN, "eos_token": END, "pad_token": END, "unk_token": END}
    learner = CLIPTokenizer(vocab={BEGIN: 0, END: 1}, merges=[], **marks).backend_tokenizer
    letters = sorted(ByteLevel.alphabet())
    # The trainer numbers ends of words as it meets them in a hash map, and breaks ties between merges by number; what
    # it is given as special comes first and in order. Every byte needs its form at the end of a word too, or words that
    # end as none of the corpus does are lost.
    first = [BEGIN, END, *letters, *(f"{letter}</w>" for letter in letters)]
    learner.train_from_iterator(
        sentences,
        BpeTrainer(vocab_size=vocabulary, special_tokens=first, end_of_word_suffix="</w>", show_progress=False),
    )
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) if not isinstance(pair, str) else tuple(pair.split(" ")) for pair in learned["merges"]]
    return CLIPTokenizer(vocab=learned["vocab"], merges=merges, model_max_length=tokens, **marks)


def build_tiny(
    sentences: Iterable[str], config: TinyConfig | None = None, seed: int = 0, **options: Any
) -> InstructDiffusion:
    """Build the model with random weights.

    Args:
        sentences: Corpus of the tokenizer.
        config: Sizes; or give them as `options`.
        seed: Of the weights.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    config = config or build_options(TinyConfig, options, "tiny model")
    tokenizer = train_tokenizer(sentences, config.vocabulary, config.tokens)
    levels = len(config.vae_widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            block_out_channels=config.vae_widths,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=config.vae_groups,
            sample_size=config.size,
            mid_block_add_attention=False,
            scaling_factor=1.0,
        )
        depth = len(config.unet_widths)
        unet = UNet2DConditionModel(
            sample_size=config.size >> (levels - 1),
            in_channels=8,
            out_channels=4,
            block_out_channels=config.unet_widths,
            layers_per_block=1,
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (depth - 1),
            up_block_types=("CrossAttnUpBlock2D",) * (depth - 1) + ("UpBlock2D",),
            cross_attention_dim=config.text_width,
            attention_head_dim=4,
            norm_num_groups=config.unet_groups,
            resnet_time_scale_shift="scale_shift",
            addition_embed_type="text",
            addition_embed_type_num_heads=4,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.text_width,
                intermediate_size=4 * config.text_width,
                projection_dim=config.text_width,
                num_hidden_layers=config.text_layers,
                num_attention_heads=config.text_heads,
                max_position_embeddings=config.tokens,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )
    settings = DiffusionConfig(size=config.size, one_step=True)
    return InstructDiffusion(vae, unet, text, tokenizer, scheduler, settings)
