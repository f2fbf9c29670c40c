"""From a run file to a trained model: build what it names, train, evaluate, save."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from ..config import PartConfig, RunConfig, load_run, to_mapping, to_yaml
from ..data import Mixture, MixturePart, Source, build_transform
from ..errors import CheckpointError, ConfigError, DataError, nearest
from ..losses import class_weight_vector
from ..losses.routing import RoutingLossConfig
from ..metrics.protocol import check_figure
from ..options import build_options
from ..task import TASKS, MultiTaskModel, MultiTaskObjective, Objective, build_model
from .checkpoint import load_newest, refuse_used
from .distributed import Workers
from .evaluate import check_evaluation, evaluate, evenly_spaced
from .fit import HeadFitter, run_fitters
from .named import build_objective
from .optim import train_only
from .parts import open_part, refuse_one_file
from .start import start_from
from .state import RunSummary
from .train import Trainer, export_state

__all__ = ["BuiltRun", "build_run", "inner_model", "train_from_config", "train_run"]

_DRY_RUN_SAMPLES = 2
_DRY_RUN_COUNTED = 50
_FULL_COUNT = 5000


@dataclass(frozen=True)
class BuiltRun:
    """What a run file describes, ready to train."""

    objective: Objective
    mixture: Mixture
    evaluators: dict[str, ModelEvaluator]
    fitters: tuple[HeadFitter, ...] = ()

    @property
    def model(self) -> MultiTaskModel:
        """The model inside the objective of a run with heads of tasks."""
        assert isinstance(self.objective, MultiTaskObjective)
        return self.objective.model


@dataclass(frozen=True)
class ModelEvaluator:
    """Measures one head of the model inside an objective's module on one source."""

    source: Source
    part: PartConfig
    device: torch.device
    workers: int = 0

    def check(self, model: MultiTaskModel, watched: str = "") -> None:
        """Raise what an evaluation would raise before its first sample, also where it cannot give the figure `watched`:
        before the first step it costs nothing."""
        head, measured = check_evaluation(model, self.source, self.part.head or None, self.part.metric)
        if watched:
            check_figure(watched, model.specs[head].task, measured, f"train.best_metric asks head '{head}' for")

    def __call__(self, module: nn.Module, limit: int | None = None) -> dict[str, float]:
        """Give the metrics of the head; `limit` cuts the number of samples."""
        part = self.part
        report = evaluate(
            inner_model(module),
            self.source,
            part.head or None,
            batch_size=part.batch_size,
            max_side=part.max_side,
            min_side=inner_model(module).min_side or None,
            transform=build_transform(part.transforms) if part.transforms else None,
            limit=limit,
            device=self.device,
            metric=part.metric,
            workers=self.workers,
        )
        return report.metrics


def inner_model(module: nn.Module) -> Any:
    """Give the model inside an objective's module (or inside the average of one)."""
    return module["model"] if isinstance(module, nn.ModuleDict) else module


def build_run(
    config: RunConfig,
    workers: Workers | None = None,
    counted: int = _FULL_COUNT,
    build: Callable[[Mapping[str, Any]], MultiTaskModel] | None = None,
    objective_class: type[MultiTaskObjective] = MultiTaskObjective,
) -> BuiltRun:
    """Build the model, objective, mixture and evaluators that a run file describes.

    Args:
        config: The run file.
        workers: Processes that share the run; None makes them from `train.device`.
        counted: Automatic class weights look at so many samples of a part, evenly spaced.
        build: Makes the model from its description, heads completed with the classes of the data; `build_model` when
            None. Torch's global generator is seeded while it runs.
        objective_class: What is minimised, built as MultiTaskObjective is.

    Raises:
        ConfigError, UnknownName, DataError, CheckpointError: What the file names does not exist or does not fit.
    """
    workers = workers or Workers(config.train.device)
    if not config.data.train:
        raise ConfigError("data.train has no parts; name at least one data set to train on.")
    refuse_one_file(config.data)
    sources = {name: open_part(part, "train", f"data.train.{name}") for name, part in config.data.train.items()}
    mixture = _mixture(config, sources, workers.world)
    if config.objective.name:
        if config.optim.only:
            raise ConfigError(
                f"optim.only is {list(config.optim.only)}, but objective '{config.objective.name}' settles itself what "
                "trains when; leave it out."
            )
        return BuiltRun(build_objective(config, sources), mixture, {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = (build or build_model)(_model_mapping(config, sources))
    if config.model.weights is not None:
        start_from(model, Path(config.model.weights))
    _learn_counts(model, sources)
    train_only(model, config.optim.only)
    routing = build_options(RoutingLossConfig, config.objective.routing, "objective.routing")
    _check_pooled(model, sources, routing)
    objective = objective_class(
        model,
        config.objective.loss_weights,
        _class_weights(config, model, sources, counted),
        config.objective.loss_options,
        routing,
    )
    evaluators = {
        # A cache must be filled in this process, or each evaluation would start with an empty one.
        name: ModelEvaluator(
            open_part(part, "val", f"data.val.{name}"), part, workers.device, 0 if part.cache else config.train.workers
        )
        for name, part in config.data.val.items()
    }
    part, _, watched = (config.train.best_metric or "").partition("/")
    for name, evaluator in evaluators.items():
        evaluator.check(model, watched if name == part else "")
    measured = {name: evaluator.source for name, evaluator in evaluators.items()}
    # a model that goes on from a trained one keeps what was fitted to other data
    fitters = run_fitters(model, sources, measured, workers.device, config.train.workers) if build is None else ()
    return BuiltRun(objective, mixture, evaluators, fitters)


def _check_pooled(model: MultiTaskModel, sources: Mapping[str, Source], routing: RoutingLossConfig) -> None:
    """Refuse the pooled estimate where a batch holds one task: its mutual information is 0 whatever the routers do."""
    if routing.mode != "pooled" or not getattr(model.backbone, "routed_layers", ()):
        return
    alone = [n for n, s in sources.items() if len({model.route(head) for head in s.heads.values()}) < 2]
    if alone and len(model.backbone.tasks) > 1:  # type: ignore[arg-type]
        raise ConfigError(
            f"objective.routing.mode is 'pooled', which needs several tasks in a batch, but {', '.join(alone)} feed "
            "one router each; use 'running'."
        )


def train_from_config(
    path: str | Path,
    overrides: Iterable[str] = (),
    *,
    resume: bool = False,
    dry_run: bool = False,
    time_limit: float | None = None,
    data_root: str | Path | None = None,
    export: Callable[[MultiTaskModel, Path], object] | None = None,
    finetuner: Callable[..., RunSummary] | None = None,
) -> RunSummary:
    """Train what a run file describes.

    Args:
        path: The run file (see visgen.config.RunConfig).
        overrides: "a.b=value" strings.
        resume: Go on from the newest checkpoint in `out`; start afresh when there is none.
        dry_run: One training step, one small evaluation and one save in a temporary folder that is removed again;
            `out` is not touched.
        time_limit: Minutes, in place of `train.time_limit`.
        data_root: Folder that `${data_root}` stands for.
        export: Writes a model to a path, such as `save_pretrained`; called for `out/last` and `out/best`, after the
            heads that are not trained were fitted to the parts that feed the head below them. None writes the state
            dict to `last.safetensors` and `best.safetensors`.
        finetuner: Trains a run that has a part `finetune`, called as `train_run` is.
    Returns:
        How the run ended.
    """
    config = load_run(path, overrides, data_root)
    if time_limit is not None:
        config = replace(config, train=replace(config.train, time_limit=time_limit))
    run = train_run if config.finetune is None or finetuner is None else finetuner
    if dry_run and resume:
        raise ConfigError("a dry run goes on from no checkpoint, but resume is given too; leave one of them out.")
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="visgen-dry-run-") as folder:
            summary = run(_shortened(config, folder), export=export, limit=_DRY_RUN_SAMPLES)
            is_main = Workers(config.train.device).is_main  # other processes have folders of their own
            if is_main and load_newest(Path(folder) / "checkpoints") is None:
                raise CheckpointError(f"the dry run saved no readable checkpoint under {folder}; see the warnings.")
        return replace(summary, reason="dry run", out=config.out)
    return run(config, resume=resume, export=export)


def train_run(
    config: RunConfig,
    *,
    resume: bool = False,
    export: Callable[[MultiTaskModel, Path], object] | None = None,
    limit: int | None = None,
    build: Callable[[Mapping[str, Any]], MultiTaskModel] | None = None,
    objective_class: type[MultiTaskObjective] = MultiTaskObjective,
    recorded: RunConfig | None = None,
) -> RunSummary:
    """Train a resolved run.

    Args:
        config: The run.
        resume, export: As in `train_from_config`.
        limit: Samples per evaluation, for a dry run; heads are then not fitted. None measures all.
        build, objective_class: As in `build_run`.
        recorded: What the run's folder tells of it, where it is one phase of another run.
    """
    if config.finetune is not None and build is None:
        raise ConfigError(
            f"this run fine-tunes '{config.finetune.model}' (finetune.experts '{config.finetune.experts}'), which "
            "visgen.experts.finetune_from_config does; the engine alone trains whole models."
        )
    workers = Workers(config.train.device)
    out = Path(config.out)
    refuse_used(out, resume)
    counted = _FULL_COUNT if limit is None else _DRY_RUN_COUNTED
    built = build_run(config, workers, counted, build, objective_class)

    def fit_and_export(module: nn.Module, path: Path) -> object:
        if config.objective.name:
            return built.objective.export(module, path)  # type: ignore[attr-defined]
        model = inner_model(module)
        for fitter in built.fitters if limit is None else ():  # a dry run has too few images to fit to
            try:
                fitter(model)
            except DataError as error:  # the trained weights must not be lost for it
                warnings.warn(f"head '{fitter.head}' stays unfitted: {error} Fit it with visgen fit.", stacklevel=2)
        return export_state(module, path) if export is None else export(model, path)

    trainer = Trainer(
        built.objective,
        built.mixture,
        config.optim,
        config.train,
        out,
        seed=config.seed,
        evaluators=built.evaluators,
        export=fit_and_export,
        evaluation_limit=limit,
        workers=workers,
        opened=lambda: _record(recorded or config, out, resume),
    )
    return trainer.fit(resume)


def _record(config: RunConfig, out: Path, resume: bool) -> None:
    """Save the resolved configuration with the run; at a resume, warn of keys that have changed."""
    file = out / "config.yaml"
    if resume and file.exists():
        before, now = _flat(yaml.safe_load(file.read_text(encoding="utf-8"))), _flat(to_mapping(config))
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if changed:
            shown = "; ".join(f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in changed[:10])
            warnings.warn(
                f"the resumed run has other settings than before ({shown}); {file} is rewritten", stacklevel=2
            )
    out.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".yaml.tmp")
    temporary.write_text(to_yaml(config), encoding="utf-8")
    temporary.replace(file)


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, f"{where}.{key}" if where else key).items()}
    return {where: value}


def _shortened(config: RunConfig, folder: str) -> RunConfig:
    train = replace(
        config.train, steps=1, accumulate=1, eval_every=1, save_every=1, patience=0, workers=0, max_skipped=1
    )
    finetune = config.finetune and replace(config.finetune, router_steps=0, usage_batches=1)
    return replace(config, train=replace(train, progress="none", tensorboard=False), finetune=finetune, out=folder)


def _mixture(config: RunConfig, sources: Mapping[str, Source], world: int) -> Mixture:
    parts = [
        MixturePart(
            sources[name],
            build_transform(part.transforms) if part.transforms else None,
            part.weight,
            part.batch_size,
            name,
        )
        for name, part in config.data.train.items()
    ]
    return Mixture(parts, config.seed, config.data.mode, world)


def _model_mapping(config: RunConfig, sources: Mapping[str, Source]) -> dict[str, Any]:
    """Complete the heads with the classes of the data."""
    classes: dict[str, tuple[str, ...]] = {}
    origin: dict[str, str] = {}
    for part, source in sources.items():
        for task, head in source.heads.items():
            names = tuple(source.classes.get(task, ()))
            if head in classes and classes[head] != names:
                raise ConfigError(
                    f"parts '{origin[head]}' and '{part}' both feed head '{head}' but have {len(classes[head])} and "
                    f"{len(names)} classes, or others; give one of them a head of its own (data.train.{part}.head)."
                )
            classes[head], origin[head] = names, part
    heads: dict[str, Any] = {}
    for head in config.model.heads or classes:
        given = config.model.heads.get(head)
        spec: dict[str, Any] = {"task": head.split(".", 1)[0], "classes": classes.get(head, ())}
        if given is not None:
            named = {key: value for key, value in vars(given).items() if value}
            spec |= {**named, "options": dict(given.options)}
        heads[head] = spec
    for head, part in origin.items():
        if head not in heads:
            raise ConfigError(
                f"part '{part}' feeds head '{head}', which model.heads lacks{nearest(head, heads)} Add it there, or "
                f"set data.train.{part}.head to one of {', '.join(heads)}."
            )
    return {
        "backbone": {"name": config.model.backbone, **config.model.options},
        "heads": heads,
        "default_heads": config.model.default_heads,
        "max_side": config.model.max_side,
        "min_side": config.model.min_side,
    }


def _learn_counts(model: MultiTaskModel, sources: Mapping[str, Source]) -> None:
    """Let each head count the labels of the sources that feed it."""
    for name, spec in model.specs.items():
        task, below = TASKS.get(spec.task), model.below(name)
        feeding = [source for source in sources.values() if source.heads.get(spec.task) == name]
        if feeding:
            task.learn_counts(model.head(name), feeding, None if below is None else model.specs[below])


def _class_weights(
    config: RunConfig, model: MultiTaskModel, sources: Mapping[str, Source], counted: int
) -> dict[str, Tensor]:
    """Turn `objective.class_weights` into a vector per head, counting labels where it says "auto"."""
    weights = {}
    for head, spec in config.objective.class_weights.items():
        if head not in model.specs:
            raise ConfigError(
                f"objective.class_weights names head '{head}', which the model lacks{nearest(head, model.specs)} "
                f"It has {', '.join(model.specs)}."
            )
        counts = _count(model, head, sources, counted) if spec == "auto" else None
        vector = class_weight_vector(counts, model.specs[head].classes, spec)
        if vector is not None:
            weights[head] = vector
    return weights


def _count(model: MultiTaskModel, head: str, sources: Mapping[str, Source], counted: int) -> Tensor | None:
    task = TASKS.get(model.specs[head].task)
    total: Tensor | None = None
    for source in sources.values():
        if source.heads.get(task.key) != head:
            continue
        for index in evenly_spaced(len(source), counted):
            target = source[index].targets.get(task.key)
            counts = None if target is None else task.class_counts([target], model.specs[head].classes)
            if counts is not None:
                total = counts if total is None else total + counts
    return total
