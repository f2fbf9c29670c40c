"""Save a model to a folder and load one from a folder, by its shipped name, or from the Hub."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import CheckpointError, ConfigError
from .card import ModelCard
from .device import resolve_device
from .files import CONFIG_FILE, WEIGHTS_FILE, fill_model, read_config, read_tensors, write_folder
from .index import DEFAULT_MODEL, check_hash, find_entry, list_models
from .instruct import build_instruct, is_instruct

if TYPE_CHECKING:
    from ..task import MultiTaskModel

__all__ = ["from_pretrained", "load_heads", "load_model", "save_pretrained"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def save_pretrained(
    model: MultiTaskModel, folder: str | Path, *, card: ModelCard | str | None = None, dtype: str = "float32"
) -> Path:
    """Write `config.json`, `model.safetensors` and `README.md` into `folder` and give its path.

    Args:
        model: A model built by `build_model` (it must know its own configuration).
        folder: Created when absent. A kill leaves no folder, or the old one, or one that loading refuses by hash.
        card: A ModelCard, Markdown text, or None for a card with what the model itself tells.
        dtype: "float32", "float16" or "bfloat16" on disk, for matrices only; loading gives float32 again.
    Raises:
        ConfigError: The model has no configuration, or the dtype is not known.
        CheckpointError: `folder` is a file.
    """
    config = model.config()
    if not config:
        raise ConfigError("this model has no configuration to save; build it with visgen.task.build_model(config).")
    if not isinstance(card, str):
        card = (card or ModelCard()).render(config, sum(p.numel() for p in model.parameters()))
    from .. import __version__

    path = Path(folder)
    write_folder(path, model, {"visgen": __version__, "model": config}, card, dtype)
    return path


def from_pretrained(
    name: str | Path = DEFAULT_MODEL,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    zoo: str | Path | None = None,
) -> MultiTaskModel:
    """Load a model on the CPU, in float32 and evaluation mode.

    Args:
        name: A folder that `save_pretrained` wrote, one of diffusers in the layout of InstructPix2Pix, a shipped name
            (`list_models()`), or a Hub id "owner/name" when no such folder exists; only the last may use the network.
        revision: Branch, tag or commit on the Hub.
        local_files_only: Take a Hub model from the local cache only.
        token: Hub access token; None takes the one that the Hub's own tools stored.
        zoo: Another zoo folder than the shipped one.
    Raises:
        UnknownName: No folder, no shipped model, and not a Hub id.
        CheckpointError: Files missing or torn, hash or size different from index or config, or names and shapes that
            do not fit the model.
    """
    text = os.fspath(name)
    if os.path.isdir(text):
        if (Path(text) / "model_index.json").is_file() and not (Path(text) / CONFIG_FILE).exists():
            from ..diffusion import InstructDiffusion

            return InstructDiffusion.from_pretrained(text).eval()  # type: ignore[return-value]
        return _load(Path(text) / CONFIG_FILE, Path(text) / WEIGHTS_FILE, text)
    if text not in list_models(zoo) and _HUB_ID.fullmatch(text):
        from .hub import download

        folder = download(text, revision=revision, local_files_only=local_files_only, token=token)
        return _load(folder / CONFIG_FILE, folder / WEIGHTS_FILE, text)
    if revision is not None:
        raise CheckpointError(f"revision '{revision}' was given for '{text}', which is not on the Hub; leave it out.")
    folder, entry = find_entry(text, zoo)
    check_hash(folder / entry.file, entry.sha256, entry.bytes, f"the model index for '{text}'")
    return _load(folder / entry.config, folder / entry.file, text, is_checked=True)


def load_model(name: str | Path = DEFAULT_MODEL, device: str | torch.device = "auto", **options: Any) -> MultiTaskModel:
    """Load a model ready for use on a device; `name` and `options` as in `from_pretrained`."""
    target = resolve_device(device)
    return from_pretrained(name, **options).to(target)


def load_heads(name: str | Path = DEFAULT_MODEL, device: str | torch.device = "auto", **options: Any) -> MultiTaskModel:
    """Load a model for what needs task heads, as `load_model` does.

    Raises:
        ConfigError: It is an instruction model, which draws its answers and has no heads.
    """
    from ..task import MultiTaskModel

    model = load_model(name, device, **options)
    if not isinstance(model, MultiTaskModel):
        raise ConfigError(
            f"model '{name}' draws its answers and has no task heads; use it with visgen predict --path diffusion, or "
            f"name a model with heads, such as {DEFAULT_MODEL}."
        )
    return model


def _load(config_path: Path, weights_path: Path, name: str, is_checked: bool = False) -> MultiTaskModel:
    from ..task import build_model

    config = read_config(config_path)
    stored = config.get("weights")
    if stored and not is_checked:
        check_hash(weights_path, stored.get("sha256", ""), stored.get("bytes", -1), f"'{config_path}'")
    tensors = read_tensors(weights_path)
    if is_instruct(config["model"]):
        return build_instruct(config["model"], tensors, name)  # type: ignore[return-value]
    try:
        model = build_model(config["model"], load_weights=False)
    except (ConfigError, LookupError) as error:
        raise CheckpointError(f"the model that '{config_path}' describes cannot be built: {error}") from error
    fill_model(model, tensors, name)
    return model.eval()
