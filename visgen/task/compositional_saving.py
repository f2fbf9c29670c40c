"""A scene-graph head on feature maps, and the generator that it was trained with, on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import CheckpointError
from ..gan.compositional import CompositionalConfig, FeatureGenerator
from ..heads import HEADS
from ..options import build_options

__all__ = [
    "COMPOSITIONAL_FORMAT",
    "Compositional",
    "build_generator",
    "build_graph_head",
    "load_compositional",
    "save_compositional",
]

COMPOSITIONAL_FORMAT = "visgen-compositional-1"


def save_compositional(
    folder: str | Path,
    config: CompositionalConfig,
    classes: Sequence[str],
    predicates: Sequence[str],
    channels: int,
    parts: Mapping[str, nn.Module],
) -> Path:
    """Write config.json and a safetensors file of each part."""
    base = Path(folder)
    base.mkdir(parents=True, exist_ok=True)
    about = {"format": COMPOSITIONAL_FORMAT, "channels": channels, "config": asdict(config)}
    text = json.dumps({**about, "classes": list(classes), "predicates": list(predicates)}, indent=1)
    (base / "config.json").write_text(text, encoding="utf-8")
    for name, part in parts.items():
        save_file({k: v.contiguous() for k, v in part.state_dict().items()}, base / f"{name}.safetensors")
    return base


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
        CheckpointError: No such folder, or files that do not fit each other.
    """
    base = Path(folder)
    try:
        about = json.loads((base / "config.json").read_text(encoding="utf-8"))
        if about.get("format") != COMPOSITIONAL_FORMAT:
            raise CheckpointError(f"'{base}' has format {about.get('format')!r}; this reads {COMPOSITIONAL_FORMAT}.")
        config = build_options(CompositionalConfig, about["config"], f"{base}/config.json")
        sizes = (int(about["channels"]), len(about["predicates"]), len(about["classes"]))
        head = build_graph_head(config, *sizes)
        head.load_state_dict(load_file(base / "head.safetensors"))
        generator = None
        if (base / "generator.safetensors").is_file():
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
    """Build the head that `config.head` names, for maps of so many channels."""
    options = dict(config.head)
    head = HEADS.get(options.pop("name"))
    built: nn.Module = head(
        channels=dict.fromkeys((4, 8, 16, 32), channels),
        token_dim=channels,
        outputs=predicates,
        objects=objects,
        **options,
    )
    return built


def build_generator(
    config: CompositionalConfig, channels: int, predicates: int, objects: int, head: Any
) -> FeatureGenerator:
    """Build the generator of `config` for maps of so many channels and the regions of a head."""
    return FeatureGenerator(channels, objects, predicates, cells=head.cells, **dict(config.generator))
