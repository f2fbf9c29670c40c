"""Run a model over a row of pictures: read, shrink, group by size, answer, and keep the order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from ..errors import ConfigError, VisgenError
from ..structures import Boxes, Masks, Result, SceneGraph, SemanticMap, load_image, picture_of
from ..structures.working_size import MIN_SIDE, resize_for_work
from ..task import TASKS
from ..zoo import autocast, synchronise
from .inputs import Item
from .plan import Plan

if TYPE_CHECKING:
    from ..task import MultiTaskModel

__all__ = [
    "DISPLAY_THRESHOLD",
    "MOST_TRIPLETS",
    "RunOptions",
    "check_options",
    "has_boxes",
    "limit_value",
    "read_item",
    "run_items",
]

# For people, not for evaluation: the detector gives up to 100 boxes of any score, a scene graph every pair of boxes.
DISPLAY_THRESHOLD = 0.25  # low, since a detector whose scores are qualities is rarely sure: 0.5 would show little
DISPLAY_OVERLAP = 0.5  # IoU above which the less sure of two boxes is not shown, whatever their classes
MOST_TRIPLETS = 20  # the smallest K of the usual recall at 20, 50, 100

OnError = Literal["raise", "skip", "record"]


def check_options(
    tasks: Sequence[str],
    *,
    batch_size: int = 1,
    threshold: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
    color: str = "rgb",
    on_error: str = "raise",
    max_side: int | None = None,
    tta: bool = False,
) -> None:
    """Check the options of a call, on every path, before the first picture.

    Args:
        tasks: Those asked; the others are options of `Pipeline.__call__`.
    Raises:
        ConfigError: An option outside its range, or one that none of the tasks uses.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be a whole number from 1 on.")
    if threshold is not None and not (isinstance(threshold, (int, float)) and 0 <= threshold <= 1):
        raise ConfigError(f"threshold is {threshold!r}; it is a probability, from 0 to 1.")
    if threshold is not None and not {*tasks} & {"detection", "segmentation", "scene_graph"}:
        raise ConfigError(
            f"threshold is {threshold:g} but none of the tasks asked ({', '.join(sorted(tasks))}) uses it; "
            "leave it out."
        )
    if top_k is not None and not (isinstance(top_k, Integral) and top_k >= 1):
        raise ConfigError(f"top_k is {top_k!r}; it must be a whole number from 1 on.")
    if top_k is not None and not has_boxes(tasks):
        raise ConfigError(
            f"top_k is {top_k} but it limits detections and relations, and the tasks asked are "
            f"{', '.join(sorted(tasks))}; for classes use result.classification.top({top_k})."
        )
    if seed is not None and not (isinstance(seed, Integral) and seed >= 0):
        raise ConfigError(f"seed is {seed!r}; it must be a whole number from 0 on.")
    if max_side is not None and not (isinstance(max_side, Integral) and max_side >= MIN_SIDE):
        raise ConfigError(f"max_side is {max_side!r}; it must be at least {MIN_SIDE}, the least that a model takes.")
    if tta and not any(TASKS.get(task).mirrors for task in tasks):
        raise ConfigError(f"tta is on but the answers of {', '.join(sorted(tasks))} are not averaged; leave it out.")
    if color not in ("rgb", "bgr"):
        raise ConfigError(f"color is '{color}'; it must be 'rgb' or 'bgr'.")
    if on_error not in ("raise", "skip", "record"):
        raise ConfigError(f"on_error is '{on_error}'; it must be 'raise', 'skip' or 'record'.")


def has_boxes(tasks: Sequence[str]) -> bool:
    """Whether a threshold or `top_k` of a call about these tasks is for boxes or relations."""
    return not {"detection", "scene_graph"}.isdisjoint(tasks)


@dataclass(frozen=True)
class RunOptions:
    """How to run; the fields are the options of `Pipeline.__call__` and what the pipeline has settled.

    `has_boxes` says that the threshold is for boxes or relations too, so that a map without confidence may pass it.
    """

    device: torch.device
    dtype: torch.dtype
    path: str
    max_side: int
    min_side: int
    batch_size: int = 1
    threshold: float | None = None
    top_k: int | None = None
    color: str = "rgb"
    on_error: OnError = "raise"
    has_boxes: bool = False
    tta: bool = False


@dataclass
class _Picture:
    """One item on its way: `image` is what the model sees (3, h, w); `size` is that of the photograph, and `photo` its
    pixels when they cannot be read a second time (an array, an address, a video frame)."""

    source: str
    size: tuple[int, int] | None = None
    image: Tensor | None = None
    photo: np.ndarray | None = None
    error: str | None = None
    timing: dict[str, float] = field(default_factory=dict)
    result: Result | None = None


def run_items(model: MultiTaskModel, plan: Plan, items: Iterator[Item], options: RunOptions) -> Iterator[Result]:
    """Yield one Result per item, in order; with on_error="skip" unreadable items are left out.

    At most `batch_size` pictures are held at a time; those before one that raises are answered first. Those of one
    batch that have the same working size go through the model together, so nothing is padded and no answer depends on
    its neighbours.
    """
    failure: Exception | None = None
    while failure is None:
        batch: list[_Picture] = []
        try:
            for item in islice(items, options.batch_size):
                batch.append(_read(item, options))
        except Exception as error:  # of the caller's own generator too
            failure = error
        if not (batch or failure):
            return
        groups: dict[tuple[int, int], list[_Picture]] = {}
        for picture in batch:
            if picture.image is not None:
                groups.setdefault((picture.image.shape[1], picture.image.shape[2]), []).append(picture)
        for group in groups.values():
            _answer(model, plan, group, options)
        for picture in batch:
            if picture.result is not None:
                yield picture.result
            elif options.on_error == "record":
                request = plan.to_dict() if plan.steps else None
                yield Result(source=picture.source, error=picture.error, timing=picture.timing, request=request)
    raise failure


def read_item(item: Item, color: str) -> Tensor:
    """Give the picture of an item, as `load_image` does; errors name its source."""
    try:
        return load_image(item.read(), color=color)
    except (VisgenError, OSError) as error:
        if item.source in str(error):
            raise
        raise type(error)(f"{item.source}: {error}") from error


def _read(item: Item, options: RunOptions) -> _Picture:
    picture = _Picture(item.source)
    start = time.perf_counter()
    try:
        image = read_item(item, options.color)
    except (VisgenError, OSError) as error:
        if options.on_error == "raise":
            raise
        picture.error = str(error)
        picture.timing["read"] = time.perf_counter() - start
        return picture
    picture.size = (int(image.shape[1]), int(image.shape[2]))
    if not item.is_file:
        picture.photo = picture_of(image)
    picture.timing["read"] = time.perf_counter() - start
    start = time.perf_counter()
    picture.image = resize_for_work(image.to(options.device), options.max_side, options.min_side or None)
    picture.timing["resize"] = time.perf_counter() - start
    return picture


def _answer(model: MultiTaskModel, plan: Plan, group: list[_Picture], options: RunOptions) -> None:
    """Fill in the results of pictures that have one working size."""
    start = time.perf_counter()
    images = torch.stack([p.image for p in group if p.image is not None])
    with torch.no_grad(), autocast(options.device, options.dtype):
        answers = model.predict(
            images, plan.running, sizes=[p.size for p in group if p.size], verdicts=True, tta=options.tta
        )
    synchronise(options.device)
    is_here = options.device.type == "cpu"
    seconds = (time.perf_counter() - start) / len(group)
    for i, picture in enumerate(group):
        picture.timing["model"] = seconds
        here = {head: row[i] if is_here else row[i].to("cpu") for head, row in answers.items()}
        values = {head: _named(value, head.partition(".")[2]) for head, value in here.items()}
        given, request = plan.answer(values, partial(limit_value, options=options))
        fields: dict[str, Any] = {}
        for head, value in given.items():
            task, _, label_set = head.partition(".")
            fields.setdefault(task, {})[label_set or task] = value
        answered = {task: next(iter(sets.values())) if len(sets) == 1 else sets for task, sets in fields.items()}
        picture.result = Result(
            **answered,
            request=request,
            path=options.path,
            source=picture.source,
            size=picture.size,
            timing=picture.timing,
            image=picture.photo,
        )
        picture.image = None


def _named(value: Any, label_set: str) -> Any:
    """Tell a map the name of its label set, which only the head knows."""
    return replace(value, name=label_set) if isinstance(value, SemanticMap) and value.name != label_set else value


def limit_value(value: Any, options: RunOptions) -> Any:
    """Apply `threshold` and `top_k` to answers that have scores; boxes and triplets come out best first."""
    if isinstance(value, (Boxes, Masks)) and value.scores is not None:
        least = DISPLAY_THRESHOLD if options.threshold is None else options.threshold
        if options.threshold is None and isinstance(value, Boxes):
            order = nms(value.xyxy, value.scores, DISPLAY_OVERLAP)  # the surest first
        else:
            order = value.scores.argsort(descending=True, stable=True)
        return value.select(order[value.scores[order] >= least][: options.top_k])
    if isinstance(value, SceneGraph) and value.scores is not None:
        return _limit_graph(value, options)
    if isinstance(value, SemanticMap) and options.threshold:
        if value.confidence is None:
            if options.has_boxes:
                return value
            raise ConfigError(
                f"threshold is {options.threshold:g} but the segmentation of this model carries no confidence to "
                "compare; leave threshold out."
            )
        return replace(value, ids=value.ids.where(value.confidence >= options.threshold, 255))
    return value


def _limit_graph(graph: SceneGraph, options: RunOptions) -> SceneGraph:
    """Keep the best predicate of each pair, the best triplets, and the boxes that stand in them."""
    if options.threshold == 0:
        return graph.ranked() if options.top_k is None else graph.top(options.top_k)
    shown = graph.constrained(options.top_k or MOST_TRIPLETS)
    if options.threshold is not None and shown.scores is not None:
        shown = shown.select(shown.scores >= options.threshold)
    return shown.select_boxes(shown.triplets[:, :2].unique())
