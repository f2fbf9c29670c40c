"""From a labelled image to questions with pictures as answers: what an instruction model is trained and measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor

from ..data import Sample
from ..errors import ConfigError, nearest
from ..language import TaskRequest
from ..structures import Boxes, ClassLabel, DepthMap, Masks, OODLabel, SceneGraph, SemanticMap
from .codec import BoxLayers, Codec, CodecSettings, Letterbox

__all__ = ["Query", "QueryConfig", "canvas_image", "draw_queries", "town_oddities"]

TASKS = ("segmentation", "detection", "depth", "classification", "ood", "scene_graph")
COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta")


@dataclass(frozen=True)
class Query:
    """One question about one image, with its answer.

    Attributes:
        request: What is asked.
        value: The typed target.
        is_there: False for a question about something absent.
    """

    request: TaskRequest
    value: Any
    is_there: bool = True

    def picture(self, codec: Codec, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Give the answer as a picture (3, h, w) in [-1, 1] and where it is known, (h, w) bool."""
        return codec.encode(self.value, self.request, size), codec.valid(self.value, self.request, size)


@dataclass(frozen=True)
class QueryConfig:
    """How many questions of which kind an image gets.

    Attributes:
        counts: Task to number of questions per image; a fraction is a chance.
        absent: Share of the questions about classes that the image does not hold; yes or no about a class is asked by
            halves whatever it says.
        coloured: Share of the segmentation questions that name colours.
        several: Share of these that ask for two or three classes.
        least: Least share of the canvas that a class must cover to be asked for.
        avoid: Classes that are never asked for.
        familiar: Share of the images without anything strange that are asked what is strange.
        empty: Share of the questions about masks, boxes and relations for which an image holds nothing to ask for that
            ask for something absent instead; the others are not asked. With 0 the share of absent ones is `absent`;
            with 1 it is more where many images hold nothing, as with relations between large things.
    Raises:
        ConfigError: A task that is not known, or a share outside 0..1.
    """

    counts: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(TASKS, 1.0))
    absent: float = 0.2
    coloured: float = 0.3
    several: float = 0.5
    least: float = 0.004
    avoid: tuple[str, ...] = ()
    familiar: float = 1.0
    empty: float = 1.0

    def __post_init__(self) -> None:
        for task in self.counts:
            if task not in TASKS:
                raise ConfigError(f"counts names task '{task}'{nearest(task, TASKS)} Known: {', '.join(TASKS)}.")
        for name in ("absent", "coloured", "several", "least", "familiar", "empty"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a share, from 0 to 1.")


def canvas_image(sample: Sample, size: tuple[int, int]) -> Tensor:
    """Lay the image of a sample on a canvas: (3, h, w) in [-1, 1], the padding black."""
    return Letterbox.fit(sample.size, size).place_image(sample.image) * 2 - 1


def draw_queries(
    sample: Sample, config: QueryConfig, settings: CodecSettings, random: Random, plausible: Sequence[str] = ()
) -> Iterator[Query]:
    """Ask an image what its targets can answer.

    Args:
        sample: Targets by task key; "masks" beside "detection" is used for segmentation where there is no map.
        config: How many questions of which kind.
        settings: Of the codecs; relations that they do not list are not asked for.
        random: Everything that is drawn comes from it.
        plausible: Class names that occur in this kind of image; half of the absent classes are drawn from them, so that
            absence cannot be told from the word alone.
    """
    for task, count in config.counts.items():
        whole = int(count) + (random.random() < count - int(count))
        for _ in range(whole):
            query = _KINDS[task](sample, config, settings, random, plausible)
            if query is not None:
                yield query


def town_oddities(sample: Sample) -> Masks | None:
    """The strange object of a town scene as masks, none where nothing is strange; None for other samples."""
    if sample.meta.get("source") != "town":
        return None
    height, width = sample.size
    run = sample.meta.get("ood_mask")
    if run is None:
        return Masks(torch.zeros(0, height, width, dtype=torch.bool), torch.zeros(0, dtype=torch.int64), ("strange",))
    lengths = torch.tensor(run["counts"])
    flat = torch.repeat_interleave(torch.arange(len(lengths)) % 2, lengths).bool()
    mask = torch.zeros(height * width, dtype=torch.bool)
    mask[: len(flat)] = flat
    mask = mask.reshape(width, height).T.contiguous()
    return Masks(mask[None], torch.zeros(1, dtype=torch.int64), ("strange",))


def _present(value: Any, config: QueryConfig) -> tuple[list[str], list[str]]:
    """The classes that can be asked for as present, and those that are truly absent.

    A class of which only a crowd is boxed is neither, nor is one without a box that the set does not box completely.
    """
    shares: dict[str, float] = dict.fromkeys(value.classes, 0.0)
    unsure: set[str] = set()
    area = value.size[0] * value.size[1]
    if isinstance(value, SemanticMap):
        for _, name, share in value.shares():
            shares[name] = share
    elif isinstance(value, Masks):
        for label, mask in zip(value.labels.tolist(), value.masks, strict=True):
            shares[value.classes[label]] += float(mask.float().mean())
    else:
        crowd = [False] * len(value) if value.is_crowd is None else value.is_crowd.tolist()
        unsure |= {value.classes[k] for k, many in zip(value.labels.tolist(), crowd, strict=True) if many}
        unsure |= set() if value.complete is None else set(value.classes) - set(value.complete)
        for label, (x1, y1, x2, y2), many in zip(value.labels.tolist(), value.xyxy.tolist(), crowd, strict=True):
            if not many:
                shares[value.classes[label]] += max(0.0, x2 - x1) * max(0.0, y2 - y1) / area
    named = [name for name in value.classes if name not in config.avoid and name not in ("background", "null")]
    return (
        [name for name in named if shares[name] >= config.least],
        [name for name in named if shares[name] == 0.0 and name not in unsure],
    )


def _absent(absent: Sequence[str], random: Random, plausible: Sequence[str]) -> str | None:
    likely = [name for name in plausible if name in set(absent)]
    if likely and random.random() < 0.5:
        return random.choice(likely)
    return random.choice(list(absent)) if absent else None


def _is_spared(here: Sequence[Any], config: QueryConfig, random: Random) -> bool:
    """Whether an image that holds nothing to ask for is not asked; with `empty` at 1 no chance is drawn."""
    return not here and config.empty < 1 and random.random() >= config.empty


def _pick(
    value: Any, config: QueryConfig, random: Random, plausible: Sequence[str]
) -> tuple[str, bool, list[str]] | None:
    """A class to ask for, whether it is there, and all that are there."""
    here, absent = _present(value, config)
    if _is_spared(here, config, random):
        return None
    if not here or random.random() < config.absent:
        name = _absent(absent, random, plausible)
        return None if name is None else (name, False, here)
    return random.choice(here), True, here


def _segmentation(
    sample: Sample, config: QueryConfig, settings: CodecSettings, random: Random, plausible: Sequence[str]
) -> Query | None:
    value = next((sample.targets[key] for key in ("segmentation", "masks") if key in sample.targets), None)
    picked = None if value is None else _pick(value, config, random, plausible)
    if picked is None:
        return None
    name, is_there, here = picked
    classes: tuple[str, ...] = (name,)
    colours: tuple[tuple[str, str], ...] = ()
    if random.random() < config.coloured:
        others = [n for n in here if n != name]
        if others and random.random() < config.several:
            classes = (name, *random.sample(others, min(len(others), random.choice((1, 1, 2)))))
        colours = tuple(zip(classes, random.sample(COLOURS, len(classes)), strict=True))
    return Query(TaskRequest("segmentation", classes, colours=colours), value, is_there)


def _detection(
    sample: Sample, config: QueryConfig, settings: CodecSettings, random: Random, plausible: Sequence[str]
) -> Query | None:
    value = sample.targets.get("detection")
    if not isinstance(value, Boxes):
        return None
    picked = _pick(value, config, random, plausible)
    if picked is None:
        return None
    request = TaskRequest("detection", (picked[0],))
    if BoxLayers(settings).overflow(value, request, value.size):
        return None  # a picture that leaves boxes out would teach to leave boxes out
    return Query(request, value, picked[1])


def _depth(
    sample: Sample, config: QueryConfig, settings: CodecSettings, random: Random, plausible: Sequence[str]
) -> Query | None:
    value = sample.targets.get("depth")
    if not isinstance(value, DepthMap) or not bool(value.valid.any()):
        return None
    return Query(TaskRequest("depth"), value)


def _classification(
    sample: Sample, config: QueryConfig, settings: CodecSettings, random: Random, plausible: Sequence[str]
) -> Query | None:
    label = sample.targets.get("classification")
    value: Any = next((sample.targets[k] for k in ("segmentation", "detection") if k in sample.targets), label)
    if value is None:
        return None
    if isinstance(label, ClassLabel) and label.name not in config.avoid and random.random() < 0.5:
        others = [n for n in label.classes if n != label.name and n not in config.avoid]
        names = [label.name, *random.sample(others, min(len(others), random.choice((1, 3, 3, 3))))]
        random.shuffle(names)
        return Query(TaskRequest("classification", tuple(names)), label)
    if isinstance(value, ClassLabel):
        others = [n for n in value.classes if n != value.name and n not in config.avoid]
        is_there = value.name not in config.avoid and random.random() < 0.5
        if not is_there and not others:
            return None
        name = value.name if is_there else random.choice(others)
    else:
        here, absent = _present(value, config)
        is_there = bool(here) and random.random() < 0.5
        found = random.choice(here) if is_there else _absent(absent, random, plausible)
        if found is None:
            return None
        name = found
    colours: tuple[tuple[str, str], ...] = ()
    if random.random() < config.coloured:
        colours = tuple(zip(("yes", "no"), random.sample(COLOURS, 2), strict=True))
    return Query(TaskRequest("classification", (name,), colours=colours), value, is_there)


def _ood(
    sample: Sample, config: QueryConfig, settings: CodecSettings, random: Random, plausible: Sequence[str]
) -> Query | None:
    value: Any = town_oddities(sample)
    if value is None:
        value = sample.targets.get("ood")
    if value is None:
        return None
    is_there = value.is_ood if isinstance(value, OODLabel) else len(value) > 0
    if not is_there and random.random() >= config.familiar:
        return None
    return Query(TaskRequest("ood"), value, is_there)


def _scene_graph(
    sample: Sample, config: QueryConfig, settings: CodecSettings, random: Random, plausible: Sequence[str]
) -> Query | None:
    value = sample.targets.get("scene_graph")
    if not isinstance(value, SceneGraph):
        return None
    names = [n for n in value.names if n[1] in settings.predicates and not {n[0], n[2]} & set(config.avoid)]
    area = value.boxes.size[0] * value.boxes.size[1] * config.least
    large = [
        (s, p, o)
        for (s, p, o), (i, k, _) in zip(value.names, value.triplets.tolist(), strict=True)
        if (s, p, o) in names and min(_area(value.boxes, i), _area(value.boxes, k)) >= area
    ]
    if _is_spared(large, config, random):
        return None
    if large and random.random() >= config.absent:
        subject, predicate, target = random.choice(large)
        # Of a pair that occurs with several predicates, the question without one would have several answers.
        kinds = {n[1] for n in names if (n[0], n[2]) == (subject, target)}
        asked = predicate if len(kinds) > 1 or random.random() < 0.4 else None
        relation = (subject, asked, target)
        return Query(TaskRequest("scene_graph", relation=relation), value)
    here = sorted({value.boxes.classes[label] for label in value.boxes.labels.tolist()})
    absent = [n for n in value.boxes.classes if n not in here and n not in config.avoid]
    name = _absent(absent, random, plausible)
    if name is None or not here:
        return None
    ends = (name, random.choice(here)) if random.random() < 0.5 else (random.choice(here), name)
    return Query(TaskRequest("scene_graph", relation=(ends[0], None, ends[1])), value, False)


def _area(boxes: Boxes, row: int) -> float:
    x1, y1, x2, y2 = boxes.xyxy[row].tolist()
    return (x2 - x1) * (y2 - y1)


_KINDS: dict[str, Callable[..., Query | None]] = {
    "segmentation": _segmentation,
    "detection": _detection,
    "depth": _depth,
    "classification": _classification,
    "ood": _ood,
    "scene_graph": _scene_graph,
}
