"""A folder of weights beside the configuration that names them, of which no half-written or mixed state is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

__all__ = ["hash_file", "write_folder"]


def hash_file(path: Path) -> str:
    """Give the sha256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_folder(
    folder: str | Path,
    parts: Mapping[str, Mapping[str, Tensor] | None],
    describe: Callable[[dict[str, str]], Mapping[str, Any]],
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write NAME.safetensors of each part and then `config.json`, which holds their hashes: a torn set is refused.

    Args:
        folder: Made when absent; files of these names in it are replaced.
        parts: Name to tensors; None for a part that is not there, whose file of an earlier set is removed.
        describe: Gives the configuration for {name: sha256} of the parts that are there.
        metadata: Of the weight files.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    hashes = {}
    for name, tensors in parts.items():
        if tensors is not None:
            state = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
            save_file(state, path / f"{name}.tmp", metadata=metadata)
            hashes[name] = hash_file(path / f"{name}.tmp")
    (path / "config.tmp").write_text(json.dumps(describe(hashes), indent=1) + "\n", encoding="utf-8")
    for name in hashes:
        (path / f"{name}.tmp").replace(path / f"{name}.safetensors")
    (path / "config.tmp").replace(path / "config.json")
    for name in parts.keys() - hashes.keys():
        (path / f"{name}.safetensors").unlink(missing_ok=True)
    return path
