"""Fit the heads that are not trained: statistics from training images, a threshold from validation images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..data import Concat, Sample, Source
from ..errors import ConfigError, DataError
from ..nn.usage import expert_usage
from ..task import TASKS, HeadSpec, MultiTaskModel, build_model
from .distributed import choose_device
from .evaluate import check_classes, evenly_spaced, group_by_size, read_samples

__all__ = ["Collected", "FitReport", "HeadFitter", "collect_features", "fit_head", "run_fitters", "with_head"]


@dataclass(frozen=True)
class Collected:
    """What a model gives for the images of a source.

    Args:
        logits: Of the head that was asked (N, K), on the CPU.
        features: Image vectors (N, D), on the CPU.
        targets: Typed values of that head's task.
        paths: Files of the images, where the source tells them.
        usage: Share of each image's choices that fell on each expert (N, E), where it was asked for.
    """

    logits: Tensor
    features: Tensor
    targets: list[Any]
    paths: frozenset[str]
    usage: Tensor | None = None

    def seen_by(self, score: str) -> Tensor:
        """Give what a score reads beside the logits: the usage of experts for "routing", else the image vectors."""
        return self.usage if score == "routing" and self.usage is not None else self.features


@dataclass(frozen=True)
class FitReport:
    """How a head was fitted.

    Args:
        head: Its name.
        below: The head that it stands on.
        images: Training images that it was shown; a score that needs a class passes over those without.
        val_images: Validation images that its threshold was set on.
        settings: What was set, such as "threshold".
    """

    head: str
    below: str
    images: int
    val_images: int
    settings: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)


def fit_head(
    model: MultiTaskModel,
    head: str,
    source: Source,
    val_source: Source,
    *,
    batch_size: int = 8,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FitReport:
    """Fit an untrained head of a model, in place.

    Every image goes once through the model, without augmentation, at the size at which the model answers.

    Args:
        model: Has the head and the one below it, which is trained.
        head: Name or task of the head.
        source: Training images with targets of the task below.
        val_source: Other images of the same kind, for the threshold.
        batch_size: Images of one size per forward pass.
        limit: Use so many samples of each source, evenly spaced.
        device: Where to compute.
        workers: Processes that read samples ahead.
        progress: Called with (samples read, samples in all) for each source.
    Raises:
        ConfigError: A head that is trained, other classes than those of the head below, or one source twice.
        DataError: A file is in both sources, or too few images.
    """
    name = model.resolve(head)
    task, below = TASKS.get(model.specs[name].task), model.below(name)
    if task.is_trained or below is None:
        raise ConfigError(f"head '{name}' is trained, not fitted; fit takes heads of {', '.join(_untrained())}.")
    if source is val_source:
        raise ConfigError(f"source '{source.name}' came for training and validation; a threshold needs other images.")
    options: dict[str, Any] = {"batch_size": batch_size, "limit": limit, "device": device, "workers": workers}
    options["reader"] = name
    train = collect_features(model, below, source, progress=progress, **options)
    val = collect_features(model, below, val_source, progress=progress, **options)
    shared = sorted(train.paths & val.paths)
    if shared:
        raise DataError(
            f"{len(shared)} images are in both the training and the validation source, such as '{shared[0]}'; a "
            "threshold set on images that the statistics know would be too low: give a part held out."
        )
    module = model.head(name)
    before = next(module.buffers()).device
    module.to("cpu")  # where a covariance in float64 is not at the mercy of the accelerator
    try:
        readout = getattr(model.head(below), "readout", None)
        last_layer = None if readout is None else readout()
        task.fit(module, train.logits, train.features, train.targets, last_layer)
        settings = task.calibrate(module, val.logits, val.features)
    finally:
        module.to(before)
    return FitReport(name, below, len(train.targets), len(val.targets), settings)


@torch.no_grad()
def collect_features(
    model: MultiTaskModel,
    head: str,
    source: Source,
    *,
    batch_size: int = 8,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    task: str | None = None,
    reader: str | None = None,
    usage: bool = False,
) -> Collected:
    """Give logits of a head, image vectors and targets for the images of a source, each at the size of use.

    Args:
        model, source, batch_size, limit, device, workers, progress: As in `fit_head`.
        head: Head whose logits are wanted.
        task: Take the targets of this task; by default of the head's own, whose classes must then be the source's.
        reader: Give what this head, which stands on the other, reads: its vectors in place of the image vectors, and
            of a dense head below it the evidence for each class in the image.
        usage: Also give the usage of experts; for a backbone that has some.
    """
    wanted = task or model.specs[head].task
    if task is None:
        check_classes(head, model.specs[head].classes, source, wanted)
    target_device = choose_device(device) if isinstance(device, str) else device
    was_training = model.training
    model.to(target_device).eval()
    paths: set[str] = set()
    samples = read_samples(source, evenly_spaced(len(source), limit), None, workers, progress)
    logits: list[Tensor] = []
    vectors: list[Tensor] = []
    used: list[Tensor] = []
    targets: list[Any] = []
    try:
        for group in group_by_size(_noting(samples, paths), wanted, batch_size, model.max_side, model.min_side or None):
            images = torch.stack([image for image, _ in group]).to(target_device)
            readers = [head] if reader is None else [head, reader]
            features = model.features(images, readers, collect=usage)[model.route(head)]
            given, _ = model(images, head, features)
            read = features.token
            if reader is not None:
                valid = [(int(images.shape[-2]), int(images.shape[-1]))] * len(group)
                given = TASKS.get(model.specs[reader].task).evidence(given, valid)
                read = model.head(reader).vectors(features)  # type: ignore[operator]
            logits.append(given.float().cpu())
            vectors.append(read.float().cpu())
            if usage:
                used.append(expert_usage(features.extras["routing"]).cpu())
            targets += [target for _, target in group]
    finally:
        model.train(was_training)
    if not targets:
        raise DataError(f"no sample of '{source.name}' has a target for '{wanted}'; choose a split with labels.")
    shares = torch.cat(used) if usage else None
    return Collected(torch.cat(logits), torch.cat(vectors), targets, frozenset(paths), shares)


def with_head(model: MultiTaskModel, name: str, spec: HeadSpec) -> MultiTaskModel:
    """Give a model with the same weights and one more head, untouched by training; one of that name is replaced."""
    config = model.config()
    if not config:
        raise ConfigError("this model has no configuration to add a head to; build it with build_model(config).")
    grown = build_model({**config, "heads": {**config["heads"], name: asdict(spec)}}, load_weights=False)
    inside = f"heads.{name.replace('.', '__')}."
    kept = {key: value for key, value in model.state_dict().items() if not key.startswith(inside)}
    missing, unexpected = grown.load_state_dict(kept, strict=False)
    assert not unexpected and all(key.startswith(inside) for key in missing)
    return grown.train(model.training)


@dataclass(frozen=True)
class HeadFitter:
    """Fits one head of a model to the parts of a run that feed the head below it."""

    head: str
    source: Source
    val_source: Source
    device: torch.device
    workers: int = 0

    def __call__(self, model: MultiTaskModel) -> FitReport:
        """Fit the head in place."""
        return fit_head(model, self.head, self.source, self.val_source, device=self.device, workers=self.workers)


def run_fitters(
    model: MultiTaskModel,
    sources: Mapping[str, Source],
    val_sources: Mapping[str, Source],
    device: torch.device,
    workers: int = 0,
) -> tuple[HeadFitter, ...]:
    """Give a fitter for each head of a run that is not trained, over the parts that feed the head below it.

    Args:
        model: The model of the run.
        sources, val_sources: Name to source of the parts under data.train and data.val.
        device, workers: As in `fit_head`.
    Raises:
        ConfigError: No part feeds the head below, or a validation part measures a head that is not trained.
    """
    for name, source in val_sources.items():
        if source.heads and not any(TASKS.get(task).is_trained for task in source.heads):
            raise ConfigError(
                f"data.val.{name} measures {', '.join(source.heads.values())}, which is fitted when the run ends; "
                "leave the part out and measure the finished model with visgen evaluate."
            )
    fitters = []
    for head, spec in model.specs.items():
        below = model.below(head)
        if TASKS.get(spec.task).is_trained or below is None:
            continue
        task, parts = model.specs[below].task, []
        for where, given in (("train", sources), ("val", val_sources)):
            feeding = [source for source in given.values() if source.heads.get(task) == below]
            if not feeding:
                raise ConfigError(
                    f"head '{head}' is fitted to images of '{below}', but no part of data.{where} feeds that head; add "
                    "one, for statistics under train and for the threshold under val."
                )
            parts.append(feeding[0] if len(feeding) == 1 else Concat(feeding))
        fitters.append(HeadFitter(head, parts[0], parts[1], device, workers))
    return tuple(fitters)


def _noting(samples: Iterator[Sample], paths: set[str]) -> Iterator[Sample]:
    for sample in samples:
        if "path" in sample.meta:
            paths.add(str(sample.meta["path"]))
        yield sample


def _untrained() -> list[str]:
    return [key for key in TASKS if not TASKS.get(key).is_trained]
