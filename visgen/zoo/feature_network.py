"""Networks through which generated images are measured, built from files: any timm model, or a classifier of visgen."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..metrics.generative import FeatureNetwork
from ..structures.working_size import working_size
from .pretrained import from_pretrained

__all__ = ["classifier_feature_network", "timm_feature_network"]


def timm_feature_network(
    weights: str | Path,
    model: str = "mobilenetv2_100",
    *,
    name: str = "",
    size: int = 128,
    mean: float = 0.5,
    std: float = 0.5,
    device: str | torch.device = "cpu",
    **options: Any,
) -> FeatureNetwork:
    """Build a frozen timm model whose features are what its classifier reads.

    Args:
        weights: Safetensors state dict of the whole model; nothing is fetched.
        model: timm model name; `options` are keywords of `timm.create_model`, such as pad_type.
        name: As figures show it; the model's name by default.
        size: Side in pixels at which images are looked at.
        mean, std: Of its input, for RGB in [0, 1].
    Raises:
        CheckpointError: The file is missing or does not fit the model.
    """
    import timm

    from ..backbones.conv_stem import load_timm_weights

    network = timm.create_model(model, pretrained=False, **options)
    load_timm_weights(network, weights)
    network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # quicker on processors

    def look(images: Tensor) -> Tensor:
        x = ((images.to(device) - mean) / std).contiguous(memory_format=torch.channels_last)
        vector: Tensor = network.forward_head(network.forward_features(x), pre_logits=True)
        return vector

    return FeatureNetwork(name or model, look, _sha256(Path(weights)), size)


def classifier_feature_network(
    folder: str | Path, *, name: str = "", device: str | torch.device = "cpu", random_seed: int | None = None
) -> FeatureNetwork:
    """Build one from a saved visgen model with a classification head: its image vector, and its class logits.

    Args:
        folder: Written by `save_pretrained`.
        name: As figures show it; by default that of the head's label set, with "-random" for random weights.
        random_seed: Draw all weights anew from this seed: a control that has learned nothing. Its batch norms keep the
            statistics that they start with.
    """
    model = from_pretrained(folder)
    if random_seed is not None:
        from ..task import build_model

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_seed)
            model = build_model(model.config(), load_weights=False)
    model.eval().requires_grad_(False).to(device)
    head = model.resolve("classification")
    height, width = working_size((model.min_side or model.max_side,) * 2, model.max_side, model.min_side or None)
    assert height == width

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = model(images.to(device), head)
        return features.token, logits

    sha256 = _sha256(Path(folder) / "model.safetensors")
    label_set = head.rpartition(".")[2]
    if random_seed is not None:
        label_set, sha256 = f"{label_set}-random", f"random weights of seed {random_seed} in place of {sha256}"
    return FeatureNetwork(name or label_set, look, sha256, height, "bilinear")


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise CheckpointError(f"feature network '{path}' does not exist; give the path of a safetensors file.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
