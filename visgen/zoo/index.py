"""The list of shipped models: `model_zoo/index.json`, its schema, its hashes, and the way to add to it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, UnknownName, VisgenError, nearest
from ..shipped import shipped_path
from .files import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, hash_file, read_config

__all__ = ["DEFAULT_MODEL", "ModelEntry", "add_to_index", "check_hash", "find_entry", "list_models", "zoo_folder"]

DEFAULT_MODEL = "visgen-tiny"
INDEX_FILE = "index.json"


@dataclass(frozen=True)
class ModelEntry:
    """One shipped model; paths are relative to the zoo folder.

    Attributes:
        file: Its weights (safetensors).
        sha256: Hash of the weights, 64 hex digits; checked before they are loaded.
        bytes: Size of the weights.
        config: Its config file, in the form of `visgen.zoo.files`.
        tasks: Head names in the model's order.
        metrics: Head name or data set to {metric name: value}, copied from the records in `model_zoo/results`.
        card: Its card in Markdown.
    """

    file: str
    sha256: str
    bytes: int
    config: str
    tasks: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""


def zoo_folder(zoo: str | Path | None = None) -> Path | None:
    """The folder of shipped models, or None in a checkout that has none yet."""
    if zoo is not None:
        return Path(zoo)
    try:
        return shipped_path(f"model_zoo/{INDEX_FILE}").parent
    except VisgenError:
        return None


def list_models(zoo: str | Path | None = None) -> dict[str, ModelEntry]:
    """Give the shipped models by name, sorted.

    Args:
        zoo: Another zoo folder than the shipped one.
    Raises:
        CheckpointError: The index is not JSON or an entry breaks the schema.
    """
    folder = zoo_folder(zoo)
    path = folder / INDEX_FILE if folder else None
    if path is None or not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {name: ModelEntry(**{**rows[name], "tasks": tuple(rows[name]["tasks"])}) for name in sorted(rows)}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"model index '{path}' breaks its schema: {error!r}; reinstall visgen.") from error


def find_entry(name: str, zoo: str | Path | None = None) -> tuple[Path, ModelEntry]:
    """Give the zoo folder and the entry of a shipped model; UnknownName with the nearest name otherwise."""
    models = list_models(zoo)
    folder = zoo_folder(zoo)
    if name not in models or folder is None:
        known = f"Shipped: {', '.join(models)}" if models else "This visgen ships no model"
        raise UnknownName(
            f"model '{name}' is neither a folder nor a shipped model{nearest(name, models, ';')} {known}. "
            "A Hub id is owner/name."
        )
    return folder, models[name]


def check_hash(path: Path, sha256: str, size: int, says: str) -> None:
    """Compare a weights file with what `says` (an index or config) promises.

    Raises:
        CheckpointError: The file is missing, or its size or hash differ; the message holds both values.
    """
    if not path.is_file():
        raise CheckpointError(f"weights file '{path}' does not exist but {says} lists it; fetch it again.")
    found = path.stat().st_size
    if found != size:
        raise CheckpointError(f"weights file '{path}' has {found} bytes but {says} says {size}; fetch it again.")
    actual = hash_file(path)
    if actual != sha256:
        raise CheckpointError(
            f"weights file '{path}' has sha256 {actual} but {says} says {sha256}; it was changed: fetch it again."
        )


def add_to_index(
    folder: str | Path, name: str, *, zoo: str | Path, metrics: Mapping[str, Any] | None = None
) -> ModelEntry:
    """Copy a saved model into a zoo folder and list it; a release script calls this.

    Writes `weights/NAME.safetensors`, `weights/NAME.json` and `cards/NAME.md` under `zoo`, then `index.json`, each by
    an atomic replace. An entry of that name is replaced.

    Args:
        folder: What `save_pretrained` wrote.
        name: Lower-case letters, digits and hyphens.
        zoo: The zoo folder, usually `model_zoo` of the checkout.
        metrics: Figures for the entry; None keeps those of an entry that is replaced.
    Raises:
        CheckpointError: A bad name, or a folder that is incomplete or fails its hash.
    """
    folder, zoo = Path(folder), Path(zoo)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise CheckpointError(f"model name '{name}' must be lower-case letters, digits and hyphens, like visgen-tiny.")
    config = read_config(folder / CONFIG_FILE)
    stored = config.get("weights") or {}
    check_hash(folder / WEIGHTS_FILE, stored.get("sha256", ""), stored.get("bytes", -1), f"{folder / CONFIG_FILE}")
    models = list_models(zoo)
    kept = models[name].metrics if name in models else {}
    entry = ModelEntry(
        file=f"weights/{name}.safetensors",
        sha256=stored["sha256"],
        bytes=stored["bytes"],
        config=f"weights/{name}.json",
        tasks=tuple(config["model"].get("heads", {})),
        metrics=dict(kept if metrics is None else metrics),
        card=f"cards/{name}.md",
    )
    for source, target in ((WEIGHTS_FILE, entry.file), (CARD_FILE, entry.card), (CONFIG_FILE, entry.config)):
        _replace(zoo / target, (folder / source).read_bytes())
    models[name] = entry
    text = json.dumps({key: asdict(models[key]) for key in sorted(models)}, indent=1, ensure_ascii=False) + "\n"
    _replace(zoo / INDEX_FILE, text.encode("utf-8"))
    return entry


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
