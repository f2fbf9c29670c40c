"""Instruction models in the zoo: the same folder, hashes and index as any model, another network inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .card import ModelCard
from .files import fill_model, write_folder

if TYPE_CHECKING:
    from torch import Tensor

    from ..diffusion import InstructDiffusion

__all__ = ["INSTRUCT_MODEL", "build_instruct", "is_instruct", "save_instruct"]

INSTRUCT_MODEL = "visgen-instruct-tiny"
"""The shipped instruction model."""


def is_instruct(model: Mapping[str, Any]) -> bool:
    """Whether the "model" part of a config describes an instruction model."""
    return model.get("kind") == "instruct"


def save_instruct(
    model: InstructDiffusion,
    folder: str | Path,
    *,
    card: ModelCard | str | None = None,
    dtype: str = "float32",
    updates: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write `config.json`, `model.safetensors` and `README.md`, which `from_pretrained` and `add_to_index` take.

    Args:
        model: The model; `InstructDiffusion.save_pretrained` writes the folder that diffusers reads instead.
        folder, card, dtype: As in `visgen.zoo.save_pretrained`.
        updates: Low-rank updates that loading adds to the weights, as `visgen.nn.low_rank.fold_updates` takes them:
            the weights themselves stay as they are, so that a repository keeps only the difference.
    """
    from .. import __version__
    from ..diffusion.portable import describe_model

    described = describe_model(model)
    if not isinstance(card, str):
        card = (card or ModelCard()).render(described, sum(p.numel() for p in model.parameters()))
    path = Path(folder)
    write_folder(path, model, {"visgen": __version__, "model": described}, card, dtype, updates)
    return path


def build_instruct(described: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> InstructDiffusion:
    """Build and fill the model that a config describes; CheckpointError where the two do not fit."""
    from ..diffusion.portable import build_described
    from ..nn.low_rank import fold_updates

    model = build_described(described)
    fill_model(model, fold_updates(tensors), where)
    return model.eval()
