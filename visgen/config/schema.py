"""The dataclasses behind a run file; YAML keys are their fields, one YAML is one run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError, nearest
from .finetune import FinetuneConfig
from .loader import load_config

__all__ = [
    "DataConfig",
    "HeadConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "PartConfig",
    "RunConfig",
    "TrainConfig",
    "load_run",
]


@dataclass(frozen=True)
class HeadConfig:
    """One named head.

    Args:
        task: Task key; empty takes the part of the head's name before the first dot.
        head: Key in the HEADS registry; empty takes the task's default.
        classes: Class names; empty takes those of the first training part that feeds this head.
        options: Keywords of the registered head.
        on: Head that this one stands on, for tasks that read another head; empty takes the default one.
        route: Router of its own that its features pass through; empty takes the one that heads of its task share.
        weighed_by: Head whose map its answers are weighed by, a semantic one for boxes; empty for none.
    """

    task: str = ""
    head: str = ""
    classes: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    on: str = ""
    route: str = ""
    weighed_by: str = ""


@dataclass(frozen=True)
class ModelConfig:
    """The network: a registered backbone with options, and named heads.

    Args:
        backbone: Key in the BACKBONES registry.
        options: Keywords of that backbone; its own config dataclass checks them.
        heads: Head name ("segmentation.camvid") to its settings; empty takes one head per head name in the data.
        default_heads: Task key to the head that answers when only the task is asked; the first of the task otherwise.
        max_side: Longer side, in pixels, to which larger photographs are shrunk when the model is used.
        min_side: Longer side to which smaller ones are enlarged, in evaluations too; 0 for never.
        weights: A safetensors file of a whole model, or a folder that holds `model.safetensors`, to start from; heads
            that are new or have other classes start fresh. None starts from the backbone's own weights.
    """

    backbone: str = "vit_moe"
    options: dict[str, Any] = field(default_factory=dict)
    heads: dict[str, HeadConfig] = field(default_factory=dict)
    default_heads: dict[str, str] = field(default_factory=dict)
    max_side: int = 320
    min_side: int = 0
    weights: str | None = None

    def __post_init__(self) -> None:
        _positive("model", max_side=self.max_side)
        _at_least_zero("model", min_side=self.min_side)
        if self.min_side > self.max_side:
            raise ConfigError(f"model.min_side is {self.min_side}, above model.max_side {self.max_side}; lower it.")


@dataclass(frozen=True)
class PartConfig:
    """One data set of a mixture, or one evaluation.

    Args:
        source: "format:PATH", such as "imagefolder:${data_root}/caltech101".
        split: Part of the data set; empty takes "train" for a training part and "val" for an evaluation.
        options: Further keywords of the reader.
        shrink: Transforms without chance, applied first; their result is what `cache` keeps.
        wrap: Registered wrappers of the source in order, each {name: ..., its options}: "share" and "holding" choose
            samples and come before `limit`; others, such as "night", change pictures and come after `shrink`.
        cache: Keep decoded samples in memory, so that epochs after the first cost no decoding.
        transforms: Registered transforms in order, each {name: ..., its options}.
        weight: Relative probability of a draw; a training part only.
        batch_size: Images per batch.
        head: Head to feed or to measure; empty takes every head that the source names (an evaluation needs one).
        limit: Use so many samples, evenly spaced; None uses all.
        max_side: Evaluation only: shrink images to this longer side; answers are scored at the original size.
        metric: Evaluation only: keywords of the task's metric.
    """

    source: str
    split: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    shrink: tuple[dict[str, Any], ...] = ()
    wrap: tuple[dict[str, Any], ...] = ()
    cache: bool = False
    transforms: tuple[dict[str, Any], ...] = ()
    weight: float = 1.0
    batch_size: int = 1
    head: str = ""
    limit: int | None = None
    max_side: int | None = None
    metric: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _positive(f"part '{self.source}'", weight=self.weight, batch_size=self.batch_size)
        for name in ("limit", "max_side"):
            if getattr(self, name) is not None:
                _positive(f"part '{self.source}'", **{name: getattr(self, name)})


@dataclass(frozen=True)
class DataConfig:
    """Training and evaluation parts by name, and how a step draws from the training parts.

    Args:
        train: Name to training part.
        val: Name to evaluation part; the name is the prefix of its metrics ("camvid/mIoU").
        mode: "round_robin" takes one batch of every part per step; "per_rank" draws a part per process;
            "same_task" draws one part for all processes.
    """

    train: dict[str, PartConfig] = field(default_factory=dict)
    val: dict[str, PartConfig] = field(default_factory=dict)
    mode: Literal["round_robin", "per_rank", "same_task"] = "round_robin"


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised.

    Args:
        name: Key in the OBJECTIVES registry, such as "gan", for what is not a model with heads of tasks; `options` then
            say all, and the fields below and `model` are not used. Empty trains the model on the tasks of its heads.
        options: Keywords of the named objective.
        loss_weights: Head name to weight; a head that is not named has weight 1.
        class_weights: Head name to "auto" or {class name: weight}; a head that is not named has none.
        routing: Weights of the routing losses of the mixture of experts, by their names.
        loss_options: Head name to keywords of its task's loss.
    """

    name: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    loss_weights: dict[str, float] = field(default_factory=dict)
    class_weights: dict[str, str | dict[str, float]] = field(default_factory=dict)
    routing: dict[str, Any] = field(default_factory=dict)
    loss_options: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for head, weight in self.loss_weights.items():
            _at_least_zero("objective.loss_weights", **{head: weight})


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule.

    Args:
        lr: Peak learning rate, > 0.
        weight_decay: Decoupled decay of matrices and kernels; biases and norms have none.
        betas: Decay rates of the two moments.
        eps: Added to the root of the second moment.
        schedule: "cosine" from the peak to `min_lr_ratio` of it, or "constant"; both after a linear warm-up.
        warmup_steps: Steps of the warm-up; 0 for none.
        min_lr_ratio: Last learning rate over the peak, 0..1.
        clip_norm: Largest global gradient norm per phase; None clips nothing.
        lr_scales: Dotted part of parameter names to a factor on `lr`, such as {backbone.stem: 0.1}; the longest part
            that fits a name wins.
        only: Dotted parts of parameter names that train, such as [heads.depth]; the rest stays as it is, and the
            backward pass ends where nothing trains. Empty trains everything.
    """

    lr: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 0
    min_lr_ratio: float = 0.0
    clip_norm: float | None = 1.0
    lr_scales: dict[str, float] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _positive("optim", lr=self.lr, eps=self.eps)
        _at_least_zero("optim", weight_decay=self.weight_decay, warmup_steps=self.warmup_steps)
        if not 0 <= self.min_lr_ratio <= 1:
            raise ConfigError(f"optim.min_lr_ratio is {self.min_lr_ratio}; it is a share of optim.lr, use 0..1.")
        if not all(0 <= b < 1 for b in self.betas):
            raise ConfigError(f"optim.betas is {list(self.betas)}; both must lie in [0, 1), such as [0.9, 0.999].")
        if self.clip_norm is not None:
            _positive("optim", clip_norm=self.clip_norm)
        for prefix, scale in self.lr_scales.items():
            _at_least_zero("optim.lr_scales", **{prefix: scale})


@dataclass(frozen=True)
class TrainConfig:
    """The loop.

    Args:
        steps: Optimiser steps of the whole run.
        accumulate: Mixture draws whose gradients are averaged into one optimiser step.
        normalise: "batches" averages over all micro-batches of a step; "heads" sums, over heads, the average over
            that head's micro-batches, so that loss weights alone set each head's share.
        precision: "fp32", or "bf16" for autocast with float32 parameters.
        device: "auto", "cpu", "cuda", "mps", ...
        threads: CPU threads of torch; None leaves them alone. A fixed number makes CPU runs repeat bit for bit.
        workers: Processes that load batches ahead, 0 or 1 and more; the numbers do not depend on it.
        ema_decay: Decay of the averaged weights, 0..1; None keeps none. Evaluations use the average.
        ema_warmup: Shorten the average early on: decay min(ema_decay, (1 + n) / (10 + n)) after n updates.
        eval_every: Evaluate after so many steps; 0 only at the end.
        save_every: Checkpoint after so many steps; 0 only at the end.
        keep: Checkpoints that stay, newest first.
        best_metric: "part/metric" that chooses the best weights and drives the early stop; None keeps no best.
        best_mode: Whether a larger ("max") or smaller ("min") metric is better.
        patience: Stop after so many evaluations without a better metric; 0 never.
        max_skipped: Stop with an error after so many non-finite steps in a row.
        time_limit: Minutes after which the run saves and ends, to be resumed; None for none.
        log_every: Write a CSV row, the mean over so many steps.
        tensorboard: Also write TensorBoard files.
        progress: "auto" shows a bar on a terminal and nothing elsewhere.
    """

    steps: int = 1000
    accumulate: int = 1
    normalise: Literal["batches", "heads"] = "batches"
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    ema_decay: float | None = None
    ema_warmup: bool = True
    eval_every: int = 0
    save_every: int = 500
    keep: int = 2
    best_metric: str | None = None
    best_mode: Literal["max", "min"] = "max"
    patience: int = 0
    max_skipped: int = 10
    time_limit: float | None = None
    log_every: int = 1
    tensorboard: bool = False
    progress: Literal["auto", "bar", "lines", "none"] = "auto"

    def __post_init__(self) -> None:
        _positive("train", steps=self.steps, accumulate=self.accumulate, keep=self.keep, log_every=self.log_every)
        _positive("train", max_skipped=self.max_skipped)
        _at_least_zero(
            "train",
            workers=self.workers,
            eval_every=self.eval_every,
            save_every=self.save_every,
            patience=self.patience,
        )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ConfigError(f"train.ema_decay is {self.ema_decay}; use [0, 1), or null for no average.")
        for name in ("threads", "time_limit"):
            if getattr(self, name) is not None:
                _positive("train", **{name: getattr(self, name)})
        if self.patience and not self.best_metric:
            raise ConfigError(
                f"train.patience is {self.patience} but train.best_metric is not set; an early stop needs the metric "
                "it watches, such as train.best_metric: camvid/mIoU."
            )


@dataclass(frozen=True)
class RunConfig:
    """One run: `visgen train FILE.yaml`.

    Args:
        finetune: Start from a trained model and train a part of it; `model` then gives the new heads only. None builds
            the model that `model` describes and trains all of it.
        out: Folder of the run: resolved config, logs, checkpoints, best and last weights.
        seed: Of the initial weights, the mixture, the augmentation and dropout.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    finetune: FinetuneConfig | None = None
    seed: int = 0
    out: str = "runs/run"

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be from 0 to 2^63 - 1.")
        if self.finetune is not None and (self.model.options or self.model.weights):
            raise ConfigError(
                f"model.options or model.weights stand beside finetune.model '{self.finetune.model}', which brings its "
                "own backbone; drop one of the two."
            )
        if self.finetune is not None and self.finetune.router_steps >= self.train.steps:
            raise ConfigError(
                f"finetune.router_steps is {self.finetune.router_steps} of train.steps {self.train.steps}; leave steps "
                "for the experts, or choose experts: router."
            )
        metric = self.train.best_metric
        if metric is not None and metric.split("/", 1)[0] not in self.data.val:
            raise ConfigError(
                f"train.best_metric is '{metric}', but data.val has no part '{metric.split('/', 1)[0]}'"
                f"{nearest(metric.split('/', 1)[0], self.data.val)} Write it as part/metric with one of: "
                f"{', '.join(self.data.val) or 'none yet'}."
            )


def load_run(path: str | Path, overrides: Iterable[str] = (), data_root: str | Path | None = None) -> RunConfig:
    """Read a run file.

    Args:
        path: YAML whose keys are the fields of RunConfig; may start from one other file with `extends`.
        overrides: "a.b=value" strings, the value in YAML; "data_root=DIR" sets `data_root`.
        data_root: Folder that `${data_root}` stands for in the file.
    Raises:
        ConfigError: Unknown key, wrong type, value out of range, second `extends`, or `${data_root}` without a value.
    """
    return load_config(RunConfig, path, overrides, {"data_root": data_root})


def _positive(where: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{where}.{name} is {value}; it must be greater than 0, and finite.")


def _at_least_zero(where: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ConfigError(f"{where}.{name} is {value}; it must be 0 or more.")
