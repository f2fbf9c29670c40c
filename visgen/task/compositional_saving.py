"""A scene-graph head on feature maps, and the generator that it was trained with, on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import CheckpointError, ConfigError
from ..gan.compositional import CompositionalConfig, FeatureGenerator
from ..gan.folder import hash_file, write_folder
from ..heads import HEADS
from ..options import build_options, call_with

__all__ = [
    "COMPOSITIONAL_FORMAT",
    "Compositional",
    "build_generator",
    "build_graph_head",
    "load_compositional",
    "save_compositional",
]

COMPOSITIONAL_FORMAT = "visgen-compositional-1"
_PARTS = ("head", "generator")


def save_compositional(
    folder: str | Path,
    config: CompositionalConfig,
    classes: Sequence[str],
    predicates: Sequence[str],
    channels: int,
    parts: Mapping[str, nn.Module],
) -> Path:
    """Write config.json and a safetensors file of each part; a generator that lay there before goes."""
    about = {"format": COMPOSITIONAL_FORMAT, "channels": channels, "config": asdict(config)}
    names = {"classes": list(classes), "predicates": list(predicates)}
    states = {name: parts[name].state_dict() if name in parts else None for name in _PARTS}
    return write_folder(folder, states, lambda hashes: {**about, **names, "sha256": hashes})


@dataclass(frozen=True)
class Compositional:
    """What a training left, in evaluation mode; `generator` is None where there was none."""

    config: CompositionalConfig
    classes: tuple[str, ...]
    predicates: tuple[str, ...]
    channels: int
    head: Any
    generator: FeatureGenerator | None


def load_compositional(folder: str | Path) -> Compositional:
    """Read what `save_compositional` wrote.

    Raises:
        CheckpointError: No such folder, or files that do not belong together.
    """
    base = Path(folder)
    try:
        about = json.loads((base / "config.json").read_text(encoding="utf-8"))
        if about.get("format") != COMPOSITIONAL_FORMAT:
            raise CheckpointError(f"'{base}' has format {about.get('format')!r}; this reads {COMPOSITIONAL_FORMAT}.")
        hashes = about.get("sha256", {})  # those that were saved before do not tell
        for name, sha256 in hashes.items():
            if hash_file(base / f"{name}.safetensors") != sha256:
                raise CheckpointError(f"'{base}/{name}.safetensors' is not what its config.json names; save again.")
        config = build_options(CompositionalConfig, about["config"], f"{base}/config.json")
        sizes = (int(about["channels"]), len(about["predicates"]), len(about["classes"]))
        head = build_graph_head(config, *sizes)
        head.load_state_dict(load_file(base / "head.safetensors"))
        generator = None
        if config.has_generator and ("generator" in hashes if hashes else (base / "generator.safetensors").is_file()):
            generator = build_generator(config, *sizes, head)
            generator.load_state_dict(load_file(base / "generator.safetensors"))
            generator.eval()
    except (OSError, KeyError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"'{base}' is no trained scene-graph head: {error}; give the folder 'last' of a run of objective "
            "compositional."
        ) from error
    names = tuple(about["classes"]), tuple(about["predicates"])
    return Compositional(config, *names, sizes[0], head.eval(), generator)


def build_graph_head(config: CompositionalConfig, channels: int, predicates: int, objects: int) -> nn.Module:
    """Build the head that `config.head` names, for maps of so many channels.

    Raises:
        ConfigError: An option that it does not take, or a head that such maps do not serve.
    """
    options = dict(config.head)
    name = options.pop("name")
    built: nn.Module = call_with(
        HEADS.get(name),
        options,
        f"head '{name}'",
        channels=dict.fromkeys((4, 8, 16, 32), channels),
        token_dim=channels,
        outputs=predicates,
        objects=objects,
    )
    if getattr(built, "pixels", False):
        raise ConfigError(
            f"head '{name}' reads finer maps than those of stride 16; use scene_graph_map, or pixels: false."
        )
    if config.second in ("swapped", "generated") and not hasattr(built, "pool"):
        raise ConfigError(f"second is '{config.second}' but head '{name}' reads no regions; use scene_graph_map.")
    return built


def build_generator(
    config: CompositionalConfig, channels: int, predicates: int, objects: int, head: Any
) -> FeatureGenerator:
    """Build the generator of `config` for maps of so many channels and the regions of a head."""
    sizes = (channels, objects, predicates)
    return call_with(FeatureGenerator, config.generator, "generator", *sizes, cells=head.cells)
