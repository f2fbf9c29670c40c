"""What the YAML of an instruction model says: its data sets, its two trainings, and what it starts from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import OptimConfig, TrainConfig, load_config
from ..data import Source, Subset, build_source
from ..diffusion import QueryConfig
from ..diffusion.codec import CodecSettings
from ..errors import ConfigError
from ..options import build_options
from .evaluate import evenly_spaced

__all__ = ["InstructPart", "InstructRun", "InstructStage", "load_instruct_run"]


@dataclass(frozen=True)
class InstructPart:
    """One data set.

    Args:
        source: "format:PATH".
        split: Part of the data set.
        options: Further keywords of the reader.
        shrink: Transforms without chance that come first.
        transforms: Augmentation, the same for image and labels.
        queries: Fields of `visgen.diffusion.QueryConfig`.
        copies: How often each image goes into the cache, each time augmented and asked anew.
        weight: Share of the draws.
        limit: Use so many images, evenly spaced.
        vae: Images that the VAE sees, evenly spaced; 0 for none.
    """

    source: str
    split: str = "train"
    options: dict[str, Any] = field(default_factory=dict)
    shrink: tuple[dict[str, Any], ...] = ()
    transforms: tuple[dict[str, Any], ...] = ()
    queries: dict[str, Any] = field(default_factory=dict)
    copies: int = 1
    weight: float = 1.0
    limit: int | None = None
    vae: int = 0

    def open(self) -> Source:
        """The labelled images."""
        source = build_source(self.source, self.split, **self.options)
        return source if self.limit is None else Subset(source, evenly_spaced(len(source), self.limit))

    def questions(self) -> QueryConfig:
        """What is asked."""
        return build_options(QueryConfig, self.queries, f"queries of part '{self.source}'")


@dataclass(frozen=True)
class InstructStage:
    """One training: batch size, options of the loss, optimiser and loop."""

    batch_size: int = 32
    loss: dict[str, Any] = field(default_factory=dict)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class InstructRun:
    """One instruction model.

    Args:
        model: Fields of `visgen.diffusion.TinyConfig`, for a model that starts from nothing.
        start: A diffusers pipeline folder to start from instead, such as Stable Diffusion; its VAE and text encoder
            stay.
        size: Side of the canvas in pixels with `start`; None takes that of the folder.
        weights: An instruction model, such as `out/denoiser/last` of an earlier part, whose denoiser and text encoder
            go on from there; its VAE must be the one that made the cache.
        name: Folder inside `out` of the denoiser's training, one for each part of it.
        codec: Fields of `CodecSettings`.
        parts: Name to data set.
        vae, denoiser: The two trainings; with `start` there is no first.
        lora: Rank of low-rank updates in place of full training of a denoiser that `start` gives; 0 trains all of it.
        updates: Rank of low-rank updates of all matrices and kernels of the model that `weights` gives; biases and
            norms train in full. `updates.safetensors` beside the exported model holds what trained. 0 for none.
        checkpointing: Compute the denoiser's activations again for the gradients instead of keeping them: the same
            gradients from less memory, in more time.
        plain: Share of canonical sentences among those that questions are trained with.
        seed: Of everything.
        out: Folder of the run.
    Raises:
        ConfigError: No part; `model` beside `start`, `size` without it, or `updates` without `weights`.
    """

    model: dict[str, Any] = field(default_factory=dict)
    start: str | None = None
    size: int | None = None
    weights: str | None = None
    name: str = "denoiser"
    codec: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, InstructPart] = field(default_factory=dict)
    vae: InstructStage = field(default_factory=InstructStage)
    denoiser: InstructStage = field(default_factory=InstructStage)
    lora: int = 0
    updates: int = 0
    checkpointing: bool = False
    plain: float = 0.3
    seed: int = 0
    out: str = "runs/instruct"

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("parts is empty; name at least one data set.")
        if self.start is not None and self.model:
            raise ConfigError(
                f"model is {self.model}, but the networks come from start, '{self.start}'; leave model out, and give "
                "the side of the canvas as size."
            )
        if self.start is None and self.size is not None:
            raise ConfigError(
                f"size is {self.size}, but a model that starts from nothing is described by model; give "
                f"model: {{size: {self.size}}}."
            )

        if self.updates and (self.weights is None or self.lora or self.denoiser.optim.only):
            raise ConfigError(
                f"updates is {self.updates}; it takes weights, the model that is updated, and neither lora nor "
                "denoiser.optim.only beside it."
            )

    def settings(self) -> CodecSettings:
        """What the codecs agree on."""
        return build_options(CodecSettings, self.codec, "codec")


def load_instruct_run(
    path: str | Path, overrides: Iterable[str] = (), data_root: str | Path | None = None
) -> InstructRun:
    """Read a run file; see `visgen.config.load_config` for overrides and errors."""
    return load_config(InstructRun, path, overrides, {"data_root": data_root})
