"""Fine-tune a part of a trained model on a new label set, and prove that nothing else moved."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..config import FinetuneConfig, ObjectiveConfig, RunConfig
from ..engine import BuiltRun, RunSummary, build_run, train_run
from ..engine.checkpoint import refuse_used
from ..engine.parts import open_part, refuse_one_file
from ..errors import ConfigError
from ..options import build_options
from ..task import HeadSpec, MultiTaskModel
from .lora import merge_low_rank
from .objective import FinetuneObjective
from .prefix_cache import PrefixCache
from .proof import MovementReport, check_movement, tensor_hashes
from .selection import Selection, parse_selection
from .start import heads_untouched, start_model
from .trainable import Trainable, set_trainable
from .usage import measure_usage

__all__ = ["FinetuneReport", "finetune", "plain_copy", "prepare"]

REPORT_FILE = "finetune.json"
USES_USAGE = ("top", "bottom", "new")
Export = Callable[[MultiTaskModel, Path], object]


@dataclass(frozen=True)
class FinetuneReport:
    """What a fine-tuning run did.

    Args:
        model: What the run started from, as its file names it.
        trainable: What trained.
        movement: Proof that nothing else moved, over the last phase.
        usage: Routed layer to the share of tokens that visit each expert, on which the choice was made; empty where
            none was needed.
        untouched: Heads of before whose answers are bit for bit the same.
        changed: Heads of before that use something that trained.
        summary: How the training ended.
        cache: Pictures found in and missing from the cache of the prefix; empty without one.
        router_steps: Steps of the first phase, which the summary leaves out.
    """

    model: str
    trainable: Trainable
    movement: MovementReport
    usage: Mapping[str, list[float]]
    untouched: tuple[str, ...]
    changed: tuple[str, ...]
    summary: RunSummary
    cache: Mapping[str, int]
    router_steps: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        steps = max(1, self.summary.steps)
        return {
            "model": self.model,
            **self.trainable.to_dict(),
            "movement": self.movement.to_dict(),
            "usage": {layer: [round(share, 5) for share in shares] for layer, shares in self.usage.items()},
            "untouched": list(self.untouched),
            "changed": list(self.changed),
            "metrics": dict(self.summary.metrics),
            "seconds_per_step": self.summary.seconds / steps,
            "cache": dict(self.cache),
            "router_steps": self.router_steps,
            **asdict(self.summary),
        }


def finetune(
    base: MultiTaskModel,
    config: RunConfig,
    *,
    resume: bool = False,
    export: Export | None = None,
    cache: PrefixCache | None = None,
    limit: int | None = None,
) -> FinetuneReport:
    """Train what `config.finetune` selects, on a copy of a model with a head for the data of the run.

    The folder of the run gets what any training leaves there, and `finetune.json` with the report. With
    `finetune.router_steps`, a first phase in its subfolder `router` trains the head and the routers.

    Args:
        base: The model to start from; it is not changed.
        config: A run with a `finetune` part, whose training data feed one head.
        resume: Go on from the newest checkpoint.
        export: Writes a model to a path, such as `save_pretrained`; called for `last` and `best` on a model of the
            usual structure: low-rank updates are folded in and split banks are whole again.
        cache: A cache of the prefix to use in place of one of `finetune.cache_mb`, to share it between runs.
        limit: Samples per evaluation; None for all.
    Raises:
        ConfigError: The selection is empty, out of range or not of this model, or the data feed no or several heads.
        FrozenPartMoved: Training changed a tensor that was announced as frozen. Nothing is exported then.
    """
    return _Run(base, config, export, cache).go(resume, limit)


def prepare(base: MultiTaskModel, config: RunConfig) -> tuple[BuiltRun, Trainable]:
    """Build what `finetune` would train, without training it: model, objective and mixture, and what of it trains.

    Args:
        base, config: As in `finetune`; a first phase for the routers is left out.
    """
    run = _Run(base, config, None, None)
    usage = run._usage(None) if run.selection.kind in USES_USAGE else {}
    built = build_run(config, build=run._builder(run.selection, usage, None), objective_class=FinetuneObjective)
    assert run.trainable is not None
    return built, run.trainable


class _Run:
    def __init__(
        self, base: MultiTaskModel, config: RunConfig, export: Export | None, cache: PrefixCache | None
    ) -> None:
        if config.finetune is None:
            raise ConfigError("this run has no part `finetune`; add it, or train it with visgen train.")
        if config.objective.name:
            raise ConfigError(
                f"objective.name is '{config.objective.name}' beside finetune.model '{config.finetune.model}'; heads "
                "are fine-tuned with the losses of their tasks: drop one of the two."
            )
        if config.optim.only:
            raise ConfigError(
                f"optim.only is {list(config.optim.only)} beside finetune.experts '{config.finetune.experts}', which "
                "says what trains; drop one of the two."
            )
        self.base, self.config, self.export = base, config, export
        self.settings: FinetuneConfig = config.finetune
        self.selection = parse_selection(self.settings.experts)
        self.cache = (
            cache if cache is not None or not self.settings.cache_mb else PrefixCache(self.settings.cache_mb * 2**20)
        )
        self.model: MultiTaskModel = base
        self.trainable: Trainable | None = None
        self.before: dict[str, str] = {}

    def go(self, resume: bool, limit: int | None) -> FinetuneReport:
        needs_usage, started = self.selection.kind in USES_USAGE, time.monotonic()
        refuse_used(Path(self.config.out), resume)  # what only the last phase needs is looked at before the first
        refuse_one_file(self.config.data)
        for name, part in self.config.data.val.items() if self.settings.router_steps else ():
            open_part(part, "val", f"data.val.{name}")
        steps, source, usage = self.settings.router_steps, self.base, {}
        if steps:
            source = self._train_routers(resume)
        if needs_usage:
            usage = self._usage(source if steps else None)
        config = self.config
        if steps:
            spent = (time.monotonic() - started) / 60
            left = None if config.train.time_limit is None else max(config.train.time_limit - spent, 1e-3)
            train = replace(config.train, steps=config.train.steps - steps, time_limit=left)
            config = replace(config, train=train, finetune=replace(self.settings, router_steps=0))
        build = self._builder(self.selection, usage, source if steps else None)
        summary = train_run(
            config,
            resume=resume,
            export=self._checked_export,
            limit=limit,
            build=build,
            objective_class=FinetuneObjective,
            recorded=self.config,
        )
        return self._report(summary, usage)

    def _train_routers(self, resume: bool) -> MultiTaskModel:
        """The first phase: head and routers, in a folder of its own; gives the trained model."""
        config = self.config
        train = replace(config.train, steps=self.settings.router_steps, best_metric=None, patience=0)
        settings = replace(self.settings, router_steps=0)
        out = f"{config.out}/router"
        config = replace(config, train=train, data=replace(config.data, val={}), finetune=settings, out=out)
        build = self._builder(Selection("router"), {}, None)
        summary = train_run(
            config,
            resume=resume,
            export=self._checked_export,
            build=build,
            objective_class=FinetuneObjective,
        )
        if not summary.finished:
            raise ConfigError(
                f"the first phase (finetune.router_steps) ended by {summary.reason} at step {summary.steps}; resume to "
                "go on."
            )
        self.model.prefix_cache = None
        return self.model

    def _usage(self, trained: MultiTaskModel | None) -> dict[str, list[float]]:
        """Shares of the experts on the training data, by the routers as they are, or as the first phase left them."""
        train = replace(self.config.train, best_metric=None, patience=0)  # with the parts that the metric is of
        quiet = replace(self.config, data=replace(self.config.data, val={}), objective=ObjectiveConfig(), train=train)
        built = build_run(quiet, build=self._builder(Selection("head"), {}, trained))
        (head,) = built.mixture.parts[0].source.heads.values()
        return measure_usage(built.model, head, built.mixture, self.settings.usage_batches)

    def _builder(
        self, selection: Selection, usage: Mapping[str, list[float]], trained: MultiTaskModel | None
    ) -> Callable[[Mapping[str, Any]], MultiTaskModel]:
        """Give the function that the engine calls with the description of the run's model."""

        def build(mapping: Mapping[str, Any]) -> MultiTaskModel:
            if len(mapping["heads"]) != 1:
                raise ConfigError(
                    f"the data feed {len(mapping['heads'])} heads ({', '.join(mapping['heads'])}); fine-tuning takes "
                    "one at a time: set data.train.<part>.head, or drop a part."
                )
            ((name, fields),) = mapping["heads"].items()
            spec = build_options(HeadSpec, fields, f"head '{name}'")
            if trained is None:
                sides = (mapping["max_side"], mapping["min_side"])
                model = start_model(self.base, name, spec, selection, usage, self.settings.keep_heads, sides)
            else:
                model = start_model(trained, name, None, selection, usage, True)
            self.trainable = set_trainable(model, name, selection, usage, self.settings.match)
            self.model, self.before = model, tensor_hashes(model)
            model.prefix_cache = None
            if self.cache is not None:
                self.cache.attach(model)
            return model

        return build

    def _checked_export(self, model: MultiTaskModel, path: Path) -> object:
        """Export only what passes the proof, and in the structure that its configuration describes."""
        assert self.trainable is not None
        check_movement(self.before, tensor_hashes(model), _announced(model, self.trainable))
        return None if self.export is None else self.export(plain_copy(model), path)

    def _report(self, summary: RunSummary, usage: Mapping[str, list[float]]) -> FinetuneReport:
        assert self.trainable is not None
        movement = check_movement(self.before, tensor_hashes(self.model), _announced(self.model, self.trainable))
        others = [name for name in self.model.specs if name != self.trainable.head]
        untouched = heads_untouched(self.model, others)
        report = FinetuneReport(
            self.settings.model,
            self.trainable,
            movement,
            usage,
            tuple(untouched),
            tuple(name for name in others if name not in untouched),
            summary,
            {} if self.cache is None else {"hits": self.cache.hits, "misses": self.cache.misses},
            self.settings.router_steps,
        )
        if torch.distributed.is_initialized() and torch.distributed.get_rank():
            return report
        file = Path(summary.out) / REPORT_FILE
        file.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
        return report


def plain_copy(model: MultiTaskModel) -> MultiTaskModel:
    """Give a copy without low-rank layers beside its weights and with every bank that was split whole again."""
    cache, model.prefix_cache = model.prefix_cache, None
    try:
        plain = copy.deepcopy(model)
    finally:
        model.prefix_cache = cache
    merge_low_rank(plain)
    with torch.no_grad():
        for bank in getattr(plain.backbone, "banks", {}).values():
            bank.join()
    return plain.requires_grad_(True)


def _announced(model: MultiTaskModel, trainable: Trainable) -> set[str]:
    """Names of the tensors that may move: what trains, and for a full run also the buffers (running statistics)."""
    names = set(trainable.all_names)
    if trainable.selection.kind == "full":
        names |= {name for name, _ in model.named_buffers()}
    return names
