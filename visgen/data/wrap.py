"""Wrappers that a run file puts around a source: a share of it, the samples that hold something, and those of wings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import torch

from ..errors import ConfigError, DataError, nearest
from ..nn.luma import mean_luma
from ..options import call_with
from ..registry import Registry
from ..structures import IGNORE, Boxes, ClassLabel, SceneGraph, SemanticMap
from .cached import Cached
from .sample import Sample
from .source import Mapped, Source, Subset

__all__ = [
    "WRAPPERS",
    "area_range",
    "choosing",
    "holding",
    "holds",
    "name_of",
    "share_of",
    "split_share",
    "wrap_source",
]

WRAPPERS: Registry[Callable[..., Any]] = Registry(
    "wrapper", "A callable (source, **options) that gives a Source of the same heads and classes."
)
_CHOOSING = {"share", "holding"}
"""Wrappers that choose among the samples and leave pictures alone; they come before a part's `limit`."""
_WITH_AREA = ("segmentation", "detection", "scene_graph")


def choosing(wrappers: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Cut a list of wrappers into those that choose samples and those that change them, each in its order."""
    first = [w for w in wrappers if w.get("name") in _CHOOSING]
    return first, [w for w in wrappers if w not in first]


def wrap_source(source: Source, wrappers: Sequence[Mapping[str, Any]]) -> Source:
    """Put registered wrappers around a source, the first one innermost.

    Args:
        source: Any source.
        wrappers: Each {name: a key of WRAPPERS, its options}.
    Raises:
        ConfigError, UnknownName: A wrapper has no name, or the name or an option is not known.
    """
    for given in wrappers:
        options = dict(given)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"wrapper {dict(given)!r} has no name; write {{name: one of {', '.join(WRAPPERS)}}}.")
        source = call_with(WRAPPERS.get(name), options, f"wrapper '{name}'", source)
    return source


def share_of(name: str, salt: str = "") -> float:
    """Give the number in [0, 1) that belongs to a sample's name, from the SHA-256 of `salt/name`."""
    return int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:8], "little") / 2**64


def name_of(source: Source, index: int) -> str:
    """Give the name of a sample: its id, else the base name of its file; a source that has `name_of` tells it fast.

    Wrappers that choose, store or change samples leave them the name that the source inside gives.
    """
    if isinstance(source, Subset):
        return name_of(source.source, source.indices[index])
    if isinstance(source, (Mapped, Cached)):
        return name_of(source.source, index)
    quick = getattr(source, "name_of", None)
    if quick is not None:
        return str(quick(index))
    meta = source[index].meta
    return str(meta["id"]) if "id" in meta else PurePath(str(meta.get("path", index))).stem


def split_share(source: Source, low: float = 0.0, high: float = 1.0, salt: str = "") -> Subset:
    """Keep the samples whose `share_of` lies in [low, high): the same ones in every process, whatever their order.

    Two ranges that do not meet give two parts without a sample in common.

    Raises:
        ConfigError: Not 0 <= low < high <= 1.
        DataError: No sample is left.
    """
    if not 0 <= low < high <= 1:
        raise ConfigError(f"the share is {low} to {high}; use 0 <= low < high <= 1.")
    kept = [i for i in range(len(source)) if low <= share_of(name_of(source, i), salt) < high]
    if not kept:
        raise DataError(f"no sample of '{source.name}' ({len(source)}) has a share in {low} to {high}; widen it.")
    return Subset(source, kept)


def holding(
    source: Source,
    task: str,
    *,
    classes: Sequence[str] = (),
    predicates: Sequence[str] = (),
    area: Sequence[float] = (0.0, 1.0),
    light: Sequence[float] = (0.0, 1.0),
    least: int = 1,
) -> Subset:
    """Keep the samples that hold an example of something, so that a part of a mixture shows it more often.

    These are pictures of the source itself, shown again: nothing is generated. Every sample is read once.

    Args:
        source: Labelled samples.
        task: Key of the target that is looked into.
        classes: Any of these classes counts, in a scene graph of a box; () for all.
        predicates: Scene graphs: any relation of these counts, where an end of one is of the classes and area; () for
            all.
        area: Share of the picture, from (included) to (excluded, but 1 takes all that is larger), that the box or all
            pixels of the class take.
        light: Mean luma of the picture, likewise.
        least: Fewer samples than this are an error.
    Raises:
        ConfigError: The source has no such target or class, or its targets have no area or predicates to look at.
        DataError: Fewer than `least` samples hold one.
    """
    classes, predicates = ((names,) if isinstance(names, str) else names for names in (classes, predicates))
    for what, bounds in (("area", area), ("light", light)):
        if not isinstance(bounds, (list, tuple)) or len(bounds) != 2 or not 0 <= bounds[0] < bounds[1]:
            raise ConfigError(f"holding: {what} is {bounds!r}; give two rising shares, such as [0.0, 0.1].")
    if task not in source.heads:
        raise ConfigError(f"holding: source '{source.name}' has labels for {', '.join(source.heads)}, not '{task}'.")
    if predicates and task != "scene_graph":
        raise ConfigError(f"holding: predicates are of a scene graph, but the task is '{task}'; name classes alone.")
    if tuple(area) != (0.0, 1.0) and task not in _WITH_AREA:
        raise ConfigError(
            f"holding: area is {list(area)}, but a target of '{task}' takes no part of a picture; leave it out, or use "
            f"one of {', '.join(_WITH_AREA)}."
        )
    known = _class_names(source, task)
    for name in classes:
        if known and name not in known:
            raise ConfigError(f"holding: class '{name}' is not in '{source.name}'{nearest(name, known)}")
    for name in predicates:
        if name not in source.classes[task]:
            raise ConfigError(
                f"holding: predicate '{name}' is not in '{source.name}'{nearest(name, source.classes[task])}"
            )
    wanted: dict[str, Any] = {"classes": classes, "predicates": predicates, "area": area, "light": light}
    kept = [i for i in range(len(source)) if holds(source[i], task, **wanted)]
    if len(kept) < least:
        raise DataError(
            f"{len(kept)} of {len(source)} samples of '{source.name}' hold what is asked for ({task}, "
            f"{', '.join((*classes, *predicates)) or 'any class'}); at least {least} are needed."
        )
    return Subset(source, kept)


def holds(
    sample: Sample,
    task: str,
    *,
    classes: Sequence[str] = (),
    predicates: Sequence[str] = (),
    area: Sequence[float] = (0.0, 1.0),
    light: Sequence[float] = (0.0, 1.0),
) -> bool:
    """Whether a sample holds an example of something; the options are those of `holding`."""
    target = sample.targets.get(task)
    return target is not None and _is_lit(sample, light) and _holds(target, classes, predicates, tuple(area))


def area_range(size: str, bounds: tuple[float, float]) -> tuple[float, float]:
    """Give the range of shares that "small", "medium" or "large" means under two bounds."""
    ranges = {"small": (0.0, bounds[0]), "medium": bounds, "large": (bounds[1], 1.01)}
    if size not in ranges:
        raise ConfigError(f"size is '{size}'; use small, medium or large.")
    return ranges[size]


def _is_lit(sample: Sample, light: Sequence[float]) -> bool:
    if tuple(light) == (0.0, 1.0):
        return True
    return _within(float(mean_luma(sample.image)), light)


def _within(share: float, bounds: Sequence[float]) -> bool:
    return bounds[0] <= share and (share < bounds[1] or bounds[1] >= 1)


def _class_names(source: Source, task: str) -> tuple[str, ...]:
    """The classes that a target of a task is asked for; a scene graph's are those of its boxes."""
    first = source[0].targets.get(task) if task == "scene_graph" else None
    return first.boxes.classes if isinstance(first, SceneGraph) else tuple(source.classes[task])


def _holds(target: Any, classes: Sequence[str], predicates: Sequence[str], area: tuple[float, ...]) -> bool:
    if isinstance(target, ClassLabel):
        return not classes or target.name in classes
    if isinstance(target, SemanticMap):
        ids = target.ids[target.ids != IGNORE]
        count = torch.bincount(ids, minlength=len(target.classes))
        share = count.double() / max(1, len(ids))
        wanted = [k for k, name in enumerate(target.classes) if not classes or name in classes]
        return any(int(count[k]) > 0 and _within(float(share[k]), area) for k in wanted)
    if isinstance(target, SceneGraph) and predicates:
        both = zip(target.triplets.tolist(), target.names, strict=True)
        ends = [row[:2] for row, names in both if names[1] in predicates]
        if not ends:
            return False
        return _holds(target.boxes.select(torch.tensor(ends).unique()), classes, (), area)
    boxes = target.boxes if isinstance(target, SceneGraph) else target
    if isinstance(boxes, Boxes):
        sides = (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).double()
        share = sides.prod(1) / (boxes.size[0] * boxes.size[1])
        crowd = [False] * len(boxes) if boxes.is_crowd is None else boxes.is_crowd.tolist()
        rows = zip(share.tolist(), crowd, boxes.names, strict=True)
        return any(_within(s, area) and not c and (not classes or name in classes) for s, c, name in rows)
    return not classes  # a target without classes, such as depth


WRAPPERS.register("share")(split_share)
WRAPPERS.register("holding")(holding)
