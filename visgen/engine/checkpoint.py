"""Training checkpoints that are whole or absent: safetensors and JSON, hashed, renamed into place, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import CheckpointError, ConfigError

__all__ = [
    "Checkpoint",
    "clean_temporary",
    "list_checkpoints",
    "refuse_used",
    "load_checkpoint",
    "load_newest",
    "optimiser_scalars",
    "optimiser_tensors",
    "restore_optimiser",
    "save_checkpoint",
    "save_tensors",
]

FORMAT = "visgen-training-1"
_NAME = re.compile(r"^step-(\d+)$")
_TEMPORARY = ".tmp-"


@dataclass
class Checkpoint:
    """The state of a run between two steps.

    Args:
        step: Optimiser steps done.
        tensors: File stem ("model", "ema", "optim.main") to named tensors.
        state: Everything else, JSON-able.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write `folder/step-N` so that it appears complete or not at all, then remove the oldest beyond `keep`.

    Every file goes to a temporary folder and is flushed to the disk (fsync); a manifest with sizes and sha256 comes
    last; one rename makes the checkpoint visible.

    Returns:
        The folder of the checkpoint.
    Raises:
        CheckpointError: The disk is full or not writable; earlier checkpoints are untouched.
    """
    final = folder / f"step-{checkpoint.step:09d}"
    temporary = folder / f"{_TEMPORARY}{final.name}-{os.getpid()}"
    replaced = folder / f"{_TEMPORARY}{final.name}-replaced"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        for stem, tensors in checkpoint.tensors.items():
            save_tensors(temporary / f"{stem}.safetensors", tensors)
        _write(temporary / "state.json", json.dumps({"step": checkpoint.step, **checkpoint.state}, indent=1))
        files = {p.name: {"sha256": _sha256(p), "bytes": p.stat().st_size} for p in sorted(temporary.iterdir())}
        _write(temporary / "manifest.json", json.dumps({"format": FORMAT, "files": files}, indent=1))
        _sync(temporary)
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            os.rename(final, replaced)
        os.rename(temporary, final)
        _sync(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"checkpoint '{final}' could not be written: {error}; earlier checkpoints are untouched. Free disk space "
            "or choose another output folder, then resume."
        ) from error
    for step, path in list_checkpoints(folder)[keep:]:
        if step < checkpoint.step:
            shutil.rmtree(path, ignore_errors=True)
    return final


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors to a safetensors file and flush it to the disk; tensors that share memory are copied."""
    seen: set[int] = set()
    flat = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        storage = tensor.untyped_storage().data_ptr()
        shared = tensor.numel() > 0 and storage in seen
        seen.add(storage)
        flat[name] = tensor.clone(memory_format=torch.contiguous_format) if shared else tensor.contiguous()
    save_file(flat, path, metadata=metadata)
    _sync(path)


def refuse_used(out: Path, resume: bool) -> None:
    """Refuse a folder that holds a run, unless that run goes on; nothing in it was changed then.

    Raises:
        ConfigError: It holds checkpoints.
    """
    if not resume and list_checkpoints(out / "checkpoints"):
        raise ConfigError(
            f"'{out}' already holds the checkpoints of a run; resume it (--resume) or choose another folder "
            "(--set out=...)."
        )


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Give (step, path) of the checkpoints in a folder, newest first, without looking inside."""
    if not folder.is_dir():
        return []
    found = [(int(m.group(1)), p) for p in folder.iterdir() if (m := _NAME.match(p.name))]
    return sorted(found, reverse=True)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint after checking the size and sha256 of each of its files.

    Raises:
        CheckpointError: A file is missing, torn or changed, or the format is another.
    """
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        if manifest.get("format") != FORMAT:
            raise CheckpointError(
                f"checkpoint '{path}' has format {manifest.get('format')!r}; this version reads {FORMAT!r}. Use the "
                "visgen version that wrote it."
            )
        for name, facts in manifest["files"].items():
            size = (path / name).stat().st_size
            if size != facts["bytes"] or _sha256(path / name) != facts["sha256"]:
                raise CheckpointError(
                    f"checkpoint '{path}': {name} has {size} bytes or a hash that differs from its manifest "
                    f"({facts['bytes']} bytes); it is torn or was changed, use an earlier checkpoint."
                )
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        tensors = {
            name.removesuffix(".safetensors"): load_file(path / name, device=str(device))
            for name in manifest["files"]
            if name.endswith(".safetensors")
        }
        return Checkpoint(step=state.pop("step"), tensors=tensors, state=state)
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint '{path}' cannot be read: {error or type(error).__name__}; use an earlier checkpoint."
        ) from error


def load_newest(folder: Path, device: torch.device | str = "cpu") -> Checkpoint | None:
    """Read the newest checkpoint that is whole; one that is not is skipped with a warning. None when there is none."""
    for _, path in list_checkpoints(folder):
        try:
            return load_checkpoint(path, device)
        except CheckpointError as error:
            warnings.warn(f"skipped a checkpoint that is not whole: {error}", stacklevel=2)
    return None


def clean_temporary(folder: Path) -> list[str]:
    """Remove what a killed process left half-written in a checkpoint folder; gives the names removed."""
    stale = sorted(p.name for p in folder.glob(f"{_TEMPORARY}*")) if folder.is_dir() else []
    for name in stale:
        shutil.rmtree(folder / name, ignore_errors=True)
    return stale


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten the tensors of an optimiser's state to "<parameter name>|<key>".

    The optimiser's groups carry `names`, as `build_optimiser` makes them.
    """
    flat = {}
    for group in optimiser.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for key, value in optimiser.state.get(parameter, {}).items():
                flat[f"{name}|{key}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return flat


def optimiser_scalars(optimiser: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Give the plain settings of an optimiser's groups: JSON-able."""
    return [{k: v for k, v in g.items() if k not in ("params", "foreach", "fused")} for g in optimiser.param_groups]


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put flattened state back; parameters that had no state then have none now.

    Raises:
        CheckpointError: The state names a parameter that the optimiser lacks, or one of another shape.
    """
    parameters = {n: p for g in optimiser.param_groups for n, p in zip(g["names"], g["params"], strict=True)}
    optimiser.state.clear()
    for flat, value in tensors.items():
        name, _, key = flat.rpartition("|")
        parameter = parameters.get(name)
        if parameter is None or (value.ndim and value.shape != parameter.shape):
            have = "is not trained in this run" if parameter is None else f"has shape {tuple(parameter.shape)}"
            raise CheckpointError(
                f"the checkpoint holds optimiser state for '{name}' of shape {tuple(value.shape)}, but that parameter "
                f"{have}; resume with the configuration that wrote the checkpoint, or start anew in another folder."
            )
        # laid out as the parameter: fused optimisers walk through both as they lie in memory
        kept = torch.empty_like(parameter if value.shape == parameter.shape else value, dtype=value.dtype)
        optimiser.state[parameter][key] = kept.to(parameter.device).copy_(value)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
