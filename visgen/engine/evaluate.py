"""Measure one head of a model on labelled data: streaming, in bounded memory, without display thresholds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..data import Sample, Source
from ..errors import ConfigError, DataError
from ..structures.working_size import resize_for_work
from ..task import TASKS, MultiTaskModel
from .distributed import choose_device
from .prefetch import prefetch

__all__ = ["EvaluationReport", "Predictor", "evaluate", "evenly_spaced"]

_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Predictor(Protocol):
    """What `evaluate` needs of a model; `visgen.task.MultiTaskModel` is one."""

    @property
    def specs(self) -> Mapping[str, Any]:
        """Head name to an object with `task` and `classes`."""

    def resolve(self, name: str) -> str:
        """Give the head that a task key or head name means."""

    def predict(
        self, images: Tensor, heads: list[str], *, sizes: Any = None, given: Any = None
    ) -> dict[str, list[Any]]:
        """Give one typed value per image for each head, of the given (H, W) where answers have a size.

        `given` is {head: (protocol, targets)} where the targets give a part of the answer; see `Task.protocols`.
        """

    def head(self, name: str) -> Any:
        """The head module called `name`."""

    def below(self, name: str) -> str | None:
        """Give the head that the head `name` stands on."""


@dataclass(frozen=True)
class EvaluationReport:
    """Figures with how they were measured.

    Args:
        task: Task key.
        model: What the caller calls the model.
        data: What the caller calls the data.
        metrics: Metric name to value.
        protocol: Head, number of images, input size, where answers are scored, precision, metric options, and of scene
            graphs `unseen_in`: the data in none of which an unseen triplet occurs.
    """

    task: str
    model: str
    data: str
    metrics: dict[str, float]
    protocol: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON-able object that `visgen evaluate --json` prints."""
        return asdict(self)


def evaluate(
    model: Predictor,
    source: Source,
    head: str | None = None,
    *,
    batch_size: int = 1,
    max_side: int | None = None,
    min_side: int | None = None,
    transform: Callable[[Sample, torch.Generator], Sample] | None = None,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    dtype: str = "float32",
    metric: Mapping[str, Any] | None = None,
    tta: bool = False,
    seen: Mapping[str, Source] | None = None,
    workers: int = 0,
    name: str = "",
    data: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Measure a head over a source.

    Images of one size are batched together, up to `batch_size`, so nothing is padded; at most 4 * batch_size images
    are held. The result does not depend on `batch_size` beyond rounding.

    Args:
        model: Answers for the head; a torch module is moved to `device`.
        source: Labelled samples.
        head: Head or task; None takes the only head that source and model share.
        batch_size: Images per forward pass.
        max_side, min_side: Shrink or enlarge each image to this longer side, as `visgen predict` does; answers are
            still given and scored
            at the size of the labels. None feeds images as they are.
        transform: Joint transform of image and labels before that (a fixed crop, say); labels are then scored as
            transformed. Its generator is seeded with the sample's position.
        limit: Use so many samples, evenly spaced over the source; None uses all.
        dtype: "float32", or "bfloat16" or "float16" for autocast.
        metric: Keywords of the task's metric. Where the task has protocols, `protocol` chooses one; else all are
            measured, and their names stand before those of the figures ("predcls/R@20").
        tta: Average what the head of a MultiTaskModel says with what it says of the mirrored image, at twice the cost.
        seen: Further sources, by what the report calls them, such as "val" where "test" is measured: what they show is
            not unseen in figures such as `zsR@K`. Without them, unseen means unseen in the training of the head.
        workers: Processes that read samples ahead.
        name, data: Shown in the report.
        progress: Called with (samples read, samples in all).
    Raises:
        ConfigError: No head fits, a value is out of range, the label sets of model and source differ, `tta` is asked of
            a task whose answers are not averaged, or `seen` of one whose figures tell nothing seen from unseen.
        DataError: No sample has a target of the task.
    """
    check_counts(batch_size, limit, max_side)
    if dtype not in _PRECISIONS:
        raise ConfigError(f"dtype is '{dtype}'; use one of {', '.join(_PRECISIONS)}.")
    head, measured = check_evaluation(model, source, head, metric, seen)
    spec = model.specs[head]
    task = TASKS.get(spec.task)
    if tta and not (task.mirrors and isinstance(model, MultiTaskModel)):
        able = ", ".join(key for key in TASKS if TASKS.get(key).mirrors)
        raise ConfigError(
            f"tta is asked of task '{task.key}' of a {type(model).__name__}; a MultiTaskModel averages {able}. "
            "Leave it out."
        )
    target_device = choose_device(device) if isinstance(device, str) else device
    if isinstance(model, nn.Module):
        model.to(target_device)
    indices = evenly_spaced(len(source), limit)
    precision = _PRECISIONS[dtype]
    used = 0
    samples = read_samples(source, indices, transform, workers, progress)
    for group in group_by_size(samples, spec.task, batch_size, max_side, min_side):
        images = torch.stack([image for image, _ in group]).to(target_device)
        targets = [target for _, target in group]
        sizes = [size for size in (answer_size(target) for target in targets) if size is not None]
        context = nullcontext() if precision is None else torch.autocast(target_device.type, dtype=precision)
        for given, figure in measured.items():
            asked: dict[str, Any] = {} if given == task.unaided else {"given": {head: (given, targets)}}
            if tta:
                asked["tta"] = True
            with torch.no_grad(), context:
                answers = model.predict(images, [head], sizes=sizes or None, **asked)[head]
            figure.update([answer.to("cpu") if hasattr(answer, "to") else answer for answer in answers], targets)
        used += len(group)
    if used == 0:
        raise DataError(
            f"none of the {len(indices)} samples read from '{source.name}' has a target for '{spec.task}'; choose a "
            "split with labels."
        )
    protocol = {
        "head": head,
        "images": used,
        "images_without_target": len(indices) - used,
        "images_in_source": len(source),
        "input": _input(max_side, min_side),
        "scored_at": "size of the labels",
        "transform": None if transform is None else repr(transform),
        "batch_size": batch_size,
        "dtype": dtype,
        "metric": dict(metric or {}),
        "tta": tta,
    }
    if task.seen_options({}, ()) is not None:
        first = "counts given" if "counts" in (metric or {}) else "training of the head"
        protocol["unseen_in"] = [first, *(seen or ())]
    figures = {
        f"{given}/{key}" if len(measured) > 1 else key: float(value)
        for given, figure in measured.items()
        for key, value in figure.compute().items()
    }
    return EvaluationReport(spec.task, name or type(model).__name__, data or source.name, figures, protocol)


def check_counts(batch_size: int, limit: int | None, max_side: int | None) -> None:
    """Raise ConfigError unless each number that is given is 1 or more."""
    if batch_size < 1 or (limit is not None and limit < 1) or (max_side is not None and max_side < 1):
        raise ConfigError(f"batch_size {batch_size}, limit {limit}, max_side {max_side}: each must be 1 or more.")


def _protocols(task: Any, options: dict[str, Any]) -> tuple[str, ...]:
    """The protocols to measure: the one that the metric's options name, taken out of them, or all."""
    known: tuple[str, ...] = task.protocols
    if known == ("",) or "protocol" not in options:
        return known
    chosen = options.pop("protocol")
    if chosen not in known:
        raise ConfigError(f"protocol is '{chosen}'; task '{task.key}' has {', '.join(known)}.")
    return (chosen,)


def settled_options(model: Predictor, head: str, protocol: str) -> dict[str, Any]:
    """Options of the metric that the model itself settles."""
    task = TASKS.get(model.specs[head].task)
    if task.stands_on is None:
        return {}
    below = model.below(head)
    return task.metric_options(
        model.head(head), model.specs[head].classes, None if below is None else model.specs[below], protocol
    )


def evenly_spaced(total: int, limit: int | None) -> list[int]:
    """Give all positions 0..total-1, or `limit` of them evenly spaced, the first one included; ConfigError below 1."""
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; use 1 or more, or leave it out for all.")
    if limit is None or limit >= total:
        return list(range(total))
    return [i * total // limit for i in range(limit)]


class _Reader:
    """One transformed sample per step, as `prefetch` wants it."""

    def __init__(self, source: Source, indices: list[int], transform: Any) -> None:
        self.source, self.indices, self.transform = source, indices, transform

    def batches(self, step: int, rank: int = 0) -> list[Sample]:
        index = self.indices[step]
        sample = self.source[index]
        if self.transform is not None:
            sample = self.transform(sample, torch.Generator().manual_seed(index))
        return [sample]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


def read_samples(
    source: Source, indices: list[int], transform: Any, workers: int, progress: Callable[[int, int], None] | None
) -> Iterator[Sample]:
    """Give the samples at `indices` in their order, transformed, read ahead by `workers` processes."""
    reader = _Reader(source, indices, transform)
    for count, (sample,) in enumerate(prefetch(reader, 0, len(indices), 0, workers), start=1):
        yield sample
        if progress is not None:
            progress(count, len(indices))


def group_by_size(
    samples: Iterator[Sample], task: str, batch_size: int, max_side: int | None, min_side: int | None
) -> Iterator[list[tuple[Tensor, Any]]]:
    """Collect images of one working size, with their targets, into groups of at most `batch_size`; those without a
    target of the task are left out."""
    waiting: dict[tuple[int, ...], list[tuple[Tensor, Any]]] = {}
    for sample in samples:
        target = sample.targets.get(task)
        if target is None:
            continue
        image = resize_for_work(sample.image, max_side, min_side)
        key = (*image.shape, *(answer_size(target) or ()))
        group = waiting.setdefault(key, [])
        group.append((image, target))
        if len(group) == batch_size:
            yield waiting.pop(key)
        elif sum(map(len, waiting.values())) >= 4 * batch_size:
            yield waiting.pop(max(waiting, key=lambda k: len(waiting[k])))
    yield from waiting.values()


def _input(max_side: int | None, min_side: int | None) -> str:
    """Say how pictures were resized, for the protocol."""
    bounds = [f"at {word} {side}" for word, side in (("most", max_side), ("least", min_side)) if side]
    return f"longer side {', '.join(bounds)}" if bounds else "as stored"


def answer_size(target: Any) -> tuple[int, int] | None:
    """Height and width that an answer must have to be compared with a target; None where answers have no size."""
    for name in ("ids", "metres", "masks"):
        if hasattr(target, name):
            height, width = getattr(target, name).shape[-2:]
            return int(height), int(width)
    size = getattr(target, "size", None)
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else None


def choose_head(model: Predictor, source: Source, head: str | None) -> str:
    if head is not None:
        name = model.resolve(head)
        task = model.specs[name].task
        if task not in source.heads:
            raise ConfigError(
                f"head '{name}' needs labels for '{task}', but source '{source.name}' has labels for "
                f"{', '.join(source.heads) or 'nothing'}; choose another head or source."
            )
        # A task alone means the head of this very label set, when the model has it.
        return source.heads[task] if head == task and source.heads[task] in model.specs else name
    shared = [name for name in source.heads.values() if name in model.specs]
    if len(shared) != 1:
        raise ConfigError(
            f"source '{source.name}' has heads {', '.join(source.heads.values())} and the model has "
            f"{', '.join(model.specs)}; {len(shared)} are shared, so name the head to measure."
        )
    return shared[0]


def check_evaluation(
    model: Predictor,
    source: Source,
    head: str | None = None,
    metric: Mapping[str, Any] | None = None,
    seen: Mapping[str, Source] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Give the head that a source measures, and its fresh metrics by protocol.

    Raises:
        ConfigError: No head fits, the label sets differ, the task's metric has no such option or value, or `seen` is
            given where nothing is told seen from unseen.
    """
    head = choose_head(model, source, head)
    spec = model.specs[head]
    check_classes(head, spec.classes, source, spec.task)
    task, options = TASKS.get(spec.task), dict(metric or {})
    if seen and task.seen_options({}, ()) is None:
        raise ConfigError(
            f"seen is {', '.join(seen)}, but the figures of task '{spec.task}' tell nothing seen from unseen; leave it "
            "out."
        )
    protocols = _protocols(task, options)
    measured = {}
    for p in protocols:
        settled = {**settled_options(model, head, p), **options, **({"protocol": p} if p else {})}
        if seen:
            settled = task.seen_options(settled, list(seen.values()))
        try:
            measured[p] = task.metric(spec.classes, **settled)
        except (ConfigError, TypeError) as error:
            raise ConfigError(
                f"the metric of task '{spec.task}' cannot be made with {options}: {str(error).rstrip('.')}."
            ) from error
    return head, measured


def check_classes(head: str, classes: tuple[str, ...], source: Source, task: str) -> None:
    """Raise ConfigError unless the label set of a head is that of a source, in one order."""
    theirs = tuple(source.classes.get(task, ()))
    if tuple(classes) == theirs:
        return
    if len(classes) == len(theirs):
        at = next(i for i, (a, b) in enumerate(zip(classes, theirs, strict=True)) if a != b)
        what = f"class {at} is '{classes[at]}' in the model and '{theirs[at]}' in the data"
    else:
        what = f"the model has {len(classes)} classes and the data {len(theirs)}"
    raise ConfigError(
        f"head '{head}' and source '{source.name}' have different label sets: {what}; measure on data with the head's "
        "own classes, in the same order."
    )
