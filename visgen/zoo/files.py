"""The model folder: `config.json`, `model.safetensors`, `README.md`; written atomically, read with every check.

`config.json` holds `format` (this layout's version), `visgen`, `model` (what `visgen.task.build_model` takes) and
`weights` (sha256, bytes and dtype of the tensors file). A tensor that two modules share is stored once; the file's own
metadata lists its other names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "WEIGHTS_FILE",
    "fill_model",
    "hash_file",
    "read_config",
    "read_tensors",
    "write_folder",
    "write_tensors",
]

CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
FORMAT = 1
STALE_SECONDS = 3600.0  # no save takes an hour, so what is older has no process left
_STORED = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def write_tensors(
    model: nn.Module, path: Path, dtype: str = "float32", further: Mapping[str, Tensor] | None = None
) -> None:
    """Write the state dict of `model` as safetensors, each shared tensor once.

    Args:
        model: Any module.
        path: File to write.
        dtype: "float32", "float16" or "bfloat16" for matrices and kernels. Vectors (norms, biases) and buffers
            (running statistics) stay as they are, as does a matrix whose values do not fit: together they are small
            and a running variance below 6e-8 would become 0 in half precision.
        further: Tensors beside those of the model, stored as its parameters are.
    Raises:
        ConfigError: Another dtype.
    """
    if dtype not in _STORED:
        raise ConfigError(f"weights cannot be stored as '{dtype}'; use one of {', '.join(_STORED)}.")
    parameters = {id(p) for p in model.parameters()}
    tensors: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    first_name: dict[tuple[Any, ...], str] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        key = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and key in first_name:
            shared[name] = first_name[key]
            continue
        first_name[key] = name
        tensors[name] = _to_stored(value.detach(), _STORED[dtype] if id(value) in parameters else value.dtype)
    tensors |= {name: _to_stored(value, _STORED[dtype]) for name, value in (further or {}).items()}
    # safetensors writes several entries in any order; with one alone, equal weights give equal bytes and one hash.
    entries = {"format": "pt", **({"shared": json.dumps(shared)} if shared else {})}
    save_file(tensors, path, metadata=entries)


def _to_stored(value: Tensor, dtype: torch.dtype) -> Tensor:
    value = value.cpu().contiguous().clone()
    if not value.is_floating_point() or value.ndim < 2:
        return value
    small = value.to(dtype)
    return small if torch.equal(small.isfinite(), value.isfinite()) else value


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Give all tensors of a safetensors file, shared ones under each of their names.

    Raises:
        CheckpointError: The file is missing, torn or not safetensors.
    """
    if not path.is_file():
        raise CheckpointError(f"weights file '{path}' does not exist; a model folder needs {WEIGHTS_FILE}.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            shared = json.loads((file.metadata() or {}).get("shared", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"weights file '{path}' ({path.stat().st_size} bytes) is torn or not safetensors: {error}; fetch it again."
        ) from error
    for name, stored in shared.items():
        if stored not in tensors:
            raise CheckpointError(f"weights file '{path}' says '{name}' is '{stored}', which it lacks; fetch it again.")
        tensors[name] = tensors[stored]
    return tensors


def fill_model(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy `tensors` into `model`, exactly: the same names and shapes on both sides.

    Raises:
        CheckpointError: Names missing from or unexpected in `tensors`, or shapes that differ; up to five are listed.
    """
    wanted = model.state_dict()
    problems = []
    for kind, names in (
        ("missing", sorted(wanted.keys() - tensors.keys())),
        ("unexpected", sorted(tensors.keys() - wanted.keys())),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            problems.append(f"{len(names)} {kind} ({', '.join(names[:5])}{more})")
    for name in sorted(wanted.keys() & tensors.keys()):
        if wanted[name].shape != tensors[name].shape and len(problems) < 5:
            problems.append(f"'{name}' is {tuple(tensors[name].shape)} but the model has {tuple(wanted[name].shape)}")
    if problems:
        raise CheckpointError(
            f"the weights in '{where}' do not fit the model that its config describes: {'; '.join(problems)}; "
            "config and weights must come from the same save_pretrained."
        )
    model.load_state_dict(dict(tensors), strict=True)


def hash_file(path: Path) -> str:
    """Give the sha256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(path: Path) -> dict[str, Any]:
    """Read and check a model's config file.

    Raises:
        CheckpointError: Missing, not JSON, without a `model` part, or of a newer format than this visgen reads.
    """
    if not path.is_file():
        last = path.parent / "last"
        found = f" '{path.parent}' is the folder of a run; its model is '{last}'." if last.is_dir() else ""
        raise CheckpointError(f"model config '{path}' does not exist; a model folder needs {CONFIG_FILE}.{found}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"model config '{path}' is not readable JSON: {error}; fetch it again.") from error
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise CheckpointError(f"model config '{path}' has no 'model' part; it was not written by save_pretrained.")
    if config["model"].get("kind") == "night":
        raise CheckpointError(
            f"'{path}' describes a day-to-night generator, not a model with heads; load it with "
            "visgen.gan.night.load_night, or name it as night:NAME."
        )
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"model config '{path}' has format {config.get('format')!r}, this visgen reads {FORMAT}; update visgen."
        )
    return config


def write_folder(
    folder: Path,
    model: nn.Module,
    config: dict[str, Any],
    card: str,
    dtype: str,
    further: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model folder so that a kill leaves either no folder, the old one, or one that loading refuses.

    A new folder appears by one rename. In a folder that exists, each file is replaced by a rename and `config.json`,
    which holds the hash of the weights, comes last: a half-replaced folder fails its hash check.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"'{folder}' is a file; save_pretrained needs the name of a folder.")
    prefix, suffix = f".{folder.name}.", ".tmp"
    for left in folder.parent.iterdir():  # of a process that was killed while it saved
        is_ours = left.name.startswith(prefix) and left.name.endswith(suffix)
        if is_ours and time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=folder.parent))
    try:
        weights = scratch / WEIGHTS_FILE
        write_tensors(model, weights, dtype, further)
        stored = {"sha256": hash_file(weights), "bytes": weights.stat().st_size, "dtype": dtype}
        full = {"format": FORMAT, **config, "weights": stored}
        (scratch / CARD_FILE).write_text(card, encoding="utf-8")
        (scratch / CONFIG_FILE).write_text(json.dumps(full, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for name in (WEIGHTS_FILE, CARD_FILE, CONFIG_FILE):
            with (scratch / name).open("rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            for name in (WEIGHTS_FILE, CARD_FILE, CONFIG_FILE):
                (scratch / name).replace(folder / name)
        else:
            scratch.chmod(0o755)  # mkdtemp makes it private
            scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
