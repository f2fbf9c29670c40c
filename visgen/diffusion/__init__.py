"""Latent diffusion that answers instructions with pictures; diffusers and transformers load when a model is made."""

from .autoencode import AutoencoderLoss, autoencoder_loss, edge_weights, standardise_latents
from .channels import convert_conv_in, expand_conv_in, join_latents
from .config import CHANNEL_ORDERS, FAST, DiffusionConfig, Sampling
from .denoise import DenoisingLoss, cell_weights, denoising_loss, drop_conditions, snr_weights
from .latents import LatentBatch, LatentCache, LatentStream, build_cache
from .model import InstructDiffusion
from .pictures import CanvasPictures
from .queries import Query, QueryConfig, canvas_image, draw_queries
from .sample import draw_latents, guide, item_generators, one_step
from .tiny import TinyConfig, build_tiny, train_tokenizer
from .wording import Wording, corpus_of

__all__ = [
    "CHANNEL_ORDERS",
    "FAST",
    "AutoencoderLoss",
    "CanvasPictures",
    "DenoisingLoss",
    "DiffusionConfig",
    "InstructDiffusion",
    "LatentBatch",
    "LatentCache",
    "LatentStream",
    "Query",
    "QueryConfig",
    "Sampling",
    "TinyConfig",
    "Wording",
    "autoencoder_loss",
    "build_cache",
    "build_tiny",
    "canvas_image",
    "cell_weights",
    "convert_conv_in",
    "corpus_of",
    "denoising_loss",
    "draw_latents",
    "draw_queries",
    "drop_conditions",
    "edge_weights",
    "expand_conv_in",
    "guide",
    "item_generators",
    "join_latents",
    "one_step",
    "snr_weights",
    "standardise_latents",
    "train_tokenizer",
]
