"""Read and write diffusers pipeline folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..errors import CheckpointError, ConfigError, nearest
from .channels import expand_conv_in as expand
from .channels import use_common_layout
from .config import CONFIG_FILE, DiffusionConfig, read_diffusion_config
from .model import InstructDiffusion

__all__ = ["read_pipeline_folder", "write_pipeline_folder"]

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def read_pipeline_folder(folder: Path, expand_conv_in: bool, settings: Mapping[str, Any]) -> InstructDiffusion:
    """Load the parts that `model_index.json` names, from safetensors only, in float32 and evaluation mode.

    Raises:
        CheckpointError: The folder, its index, or a part is missing or does not load.
        ConfigError: A 4-channel denoiser without `expand_conv_in`, a setting that is not known, or a canvas whose side
            the VAE does not divide.
    """
    index = folder / "model_index.json"
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"'{index}' cannot be read: {error}; give the folder of a diffusers pipeline, with its model_index.json."
        ) from error
    named = {k: v[1] for k, v in listed.items() if isinstance(v, list) and len(v) == 2} if type(listed) is dict else {}
    missing = [part for part in PARTS if not isinstance(named.get(part), str)]
    if missing:
        raise CheckpointError(f"'{index}' names no {', no '.join(missing)}; the pipeline needs {', '.join(PARTS)}.")
    parts = {part: _load(folder, part, named[part]) for part in PARTS}
    latents, taken = int(parts["vae"].config.latent_channels), int(parts["unet"].config.in_channels)
    config = read_diffusion_config(folder) or DiffusionConfig(size=_canvas(parts))
    for key in settings:
        if key not in DiffusionConfig.__dataclass_fields__:
            known = DiffusionConfig.__dataclass_fields__
            raise ConfigError(f"setting '{key}' is not known{nearest(key, known)} Known: {', '.join(known)}.")
    config = replace(config, **dict(settings))
    if config.size % _stride(parts):
        raise ConfigError(
            f"size is {config.size}; with the VAE in '{folder}' it must be a multiple of {_stride(parts)}."
        )
    if taken == latents:
        if not expand_conv_in:
            raise ConfigError(
                f"the denoiser in '{folder}' takes {taken} channels, so it cannot see a picture; load it with "
                "expand_conv_in=True and train it."
            )
        expand(parts["unet"], latents, config.channel_order)
    return InstructDiffusion(config=config, **parts).eval()


def write_pipeline_folder(model: InstructDiffusion, folder: Path, dtype: str = "float32") -> Path:
    """Write the parts, `model_index.json` and `visgen.json`.

    The input of the denoiser is written in the layout of InstructPix2Pix, the only one that diffusers reads.

    Args:
        model: What to save.
        folder: Made when absent.
        dtype: "float32", "float16" or "bfloat16" on disk; the model itself stays as it is.
    Raises:
        ConfigError: Another dtype.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"weights cannot be stored as '{dtype}'; use one of {', '.join(DTYPES)}.")
    from diffusers import StableDiffusionInstructPix2PixPipeline

    if model.config.channel_order != "noisy_image" or model.config.image_latents_scaled:
        model = use_common_layout(deepcopy(model))
    networks = (model.vae, model.unet, model.text_encoder)
    vae, unet, text = (net if dtype == "float32" else deepcopy(net).to(DTYPES[dtype]) for net in networks)
    pipe = StableDiffusionInstructPix2PixPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=model.tokenizer,
        unet=unet,
        scheduler=model.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.dumps(model.config.to_dict(), indent=1) + "\n"
    (folder / "model_index.json").unlink(missing_ok=True)  # makes it a folder to load, and so is written last
    (folder / CONFIG_FILE).write_text(settings, encoding="utf-8")
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def _load(folder: Path, part: str, name: str) -> Any:
    import diffusers
    import transformers

    found: Any = getattr(diffusers, name, None) or getattr(transformers, name, None)
    if not hasattr(found, "from_pretrained"):
        raise CheckpointError(f"'{folder}' names class '{name}' for its {part}, which diffusers does not have.")
    options: dict[str, Any] = {"local_files_only": True}
    is_network = part in ("vae", "unet", "text_encoder")
    if is_network:
        options |= {"use_safetensors": True, "torch_dtype" if part != "text_encoder" else "dtype": torch.float32}
        options["output_loading_info"] = True
    elif name.startswith("CLIPTokenizer"):  # which is empty, and not an error, without its words
        words = [("tokenizer.json",), ("vocab.json", "merges.txt")]
        if not any(all((folder / part / file).is_file() for file in files) for files in words):
            raise CheckpointError(
                f"the {part} in '{folder}' has no words; it needs tokenizer.json, or vocab.json and merges.txt."
            )
    try:
        loaded = found.from_pretrained(str(folder / part), **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"the {part} in '{folder}' cannot be loaded: {error}") from error
    if not is_network:
        return loaded
    lacking = sorted(loaded[1]["missing_keys"])  # they would be random
    if lacking:
        raise CheckpointError(
            f"the {part} in '{folder}' lacks {len(lacking)} of its weights, such as '{lacking[0]}'; fetch it again."
        )
    return loaded[0]


def _canvas(parts: Mapping[str, Any]) -> int:
    """The side in pixels that the denoiser was made for."""
    side = parts["unet"].config.sample_size
    return int(side if isinstance(side, int) else side[0]) * _stride(parts)


def _stride(parts: Mapping[str, Any]) -> int:
    """Pixels of a cell of latents."""
    return int(2 ** (len(parts["vae"].config.block_out_channels) - 1))
