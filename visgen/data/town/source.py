"""Town scenes as a source of samples, and the data format "town"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

import numpy as np
import torch

from ...errors import ConfigError, UnknownName, nearest
from ...options import convert
from ...structures import Boxes, ClassLabel, DepthMap, Masks, SceneGraph, SemanticMap
from ..sample import Sample
from ..source import READERS
from .config import KINDS, PREDICATES, SEMANTIC_CLASSES, TownConfig
from .presets import PRESETS as NAMED
from .scene import Scene, render

__all__ = ["TASKS", "TownSource", "read_town", "run_lengths", "scene_meta", "scene_sample", "town_config"]

TASKS = ("classification", "detection", "segmentation", "depth")
"""What samples carry by default; "scene_graph" is given when it is asked for."""
_KNOWN_TASKS = (*TASKS, "scene_graph")
SPLITS = ("train", "val", "test")
_PER_SPLIT = 10**9  # seeds of the splits never meet
_PER_SEED = 10**7  # neither do those of two source seeds


class TownSource:
    """Scenes by number: item i is the scene of one seed, rendered when asked for.

    Targets: "classification" (the object kind that fills most of the picture; absent when none is there), "detection"
    and, in step with it, "masks", "segmentation" and "depth"; and if `tasks` names it "scene_graph", over the boxes of
    "detection": the relations that are written down (all where the configuration's `relation_share` is 1). `meta` holds
    what `scene_meta` lists.

    Args:
        length: Number of samples; 10 million scenes at most.
        config: What the scenes hold; with time "both" samples 2k and 2k + 1 are scene k by day and by night.
        seed: Another seed gives other scenes.
        split: "train", "val" or "test": three sets of scenes without a scene in common.
        tasks: Which of TASKS and "scene_graph" the samples carry.
    Raises:
        ConfigError, UnknownName: An argument breaks its rule.
    """

    def __init__(
        self,
        length: int = 1000,
        config: TownConfig | None = None,
        seed: int = 0,
        *,
        split: str = "train",
        tasks: Sequence[str] = TASKS,
    ) -> None:
        self.config = config or TownConfig()
        pictures = 2 if self.config.time == "both" else 1
        if not 1 <= length <= _PER_SEED * pictures:
            raise ConfigError(f"length is {length}; a town source holds 1 to {_PER_SEED * pictures} samples.")
        if not 0 <= seed < _PER_SPLIT // _PER_SEED:
            raise ConfigError(f"seed is {seed}; use 0 to {_PER_SPLIT // _PER_SEED - 1}.")
        for task in tasks:
            if task not in _KNOWN_TASKS:
                known = ", ".join(_KNOWN_TASKS)
                raise UnknownName(f"task '{task}' has no town labels{nearest(task, _KNOWN_TASKS)} Known: {known}.")
        if split not in SPLITS:
            raise UnknownName(f"split '{split}' is not known{nearest(split, SPLITS)} Known: {', '.join(SPLITS)}.")
        self.length, self.seed, self.split, self.tasks = int(length), int(seed), split, tuple(tasks)
        self.name = f"town.{self.config.preset}"
        self.heads = {task: task if task == "depth" else f"{task}.town" for task in self.tasks}
        labels = {"classification": KINDS, "detection": KINDS, "segmentation": SEMANTIC_CLASSES, "depth": ()}
        labels["scene_graph"] = PREDICATES
        self.classes: dict[str, tuple[str, ...]] = {task: labels[task] for task in self.tasks}

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def scene_seed(self, index: int) -> int:
        """The seed of the scene that sample `index` shows."""
        number = index // 2 if self.config.time == "both" else index
        return SPLITS.index(self.split) * _PER_SPLIT + self.seed * _PER_SEED + number

    def name_of(self, index: int) -> str:
        """The name of a sample's scene, without rendering it: the same by day and by night."""
        return str(self.scene_seed(index))

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside source '{self.name}' of {self.length}.")
        config = self.config
        if config.time == "both":
            config = replace(config, time="night" if index % 2 else "day")
        return scene_sample(render(self.scene_seed(index), config), self.tasks)


def scene_sample(scene: Scene, tasks: Sequence[str] = TASKS) -> Sample:
    """Turn a scene (its first picture) into a sample."""
    time, picture = next(iter(scene.images.items()))
    targets: dict[str, Any] = {}
    known = [o for o in scene.objects if o.label >= 0]
    size = scene.semantic.shape
    labels = torch.tensor([o.label for o in known], dtype=torch.int64)
    if "classification" in tasks and known:
        targets["classification"] = ClassLabel(max(known, key=lambda o: (o.area, -o.instance)).label, KINDS)
    corners = torch.tensor([o.box for o in known], dtype=torch.float32).reshape(-1, 4)
    boxes = Boxes(corners, labels, (int(size[0]), int(size[1])), KINDS)
    if "detection" in tasks:
        targets["detection"] = boxes
        targets["masks"] = Masks(torch.from_numpy(scene.masks()), labels.clone(), KINDS)
    if "segmentation" in tasks:
        targets["segmentation"] = SemanticMap(
            torch.from_numpy(scene.semantic.astype(np.int64)), SEMANTIC_CLASSES, name="town"
        )
    if "depth" in tasks:
        targets["depth"] = DepthMap(torch.from_numpy(scene.depth))
    if "scene_graph" in tasks:
        rows = [(s, o, PREDICATES.index(p)) for s, p, o in scene.relations]
        triplets = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)
        targets["scene_graph"] = SceneGraph(boxes, triplets, PREDICATES)
    return Sample(torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))), targets, scene_meta(scene, time))


def scene_meta(scene: Scene, time: str) -> dict[str, Any]:
    """What a scene tells beside its typed labels, as plain JSON values.

    Keys: "source", "id", "seed", "time", "scene" ("street" or "room");
    "objects": one {"kind", "paint", "texture", "depth", "position", "parent", "ood"} for each row of "detection"
    (metres; "parent" is the row it stands on or None);
    "relations": [row, predicate, row] lists, and "zero_shot": for each of them, whether its composition is held out;
    "ood" (truth value), "ood_reason" ("kind", "texture" or None), "ood_objects": {"kind", "box"} of the strange
    objects, "ood_mask": COCO run lengths {"size": [H, W], "counts": [...]} column by column, None when none is;
    "caption", "instructions" (`visgen.data.town.text.write_instructions`);
    "camera": {"focal" in pixels, "position", "yaw", "pitch", "roll"} in metres and radians.
    """
    known = scene.labelled
    row = {o.instance: i for i, o in enumerate(known)}
    held = set(scene.config.holdout_triplets)
    strange = [o for o in scene.objects if o.unseen]
    camera = scene.camera
    return {
        "source": "town",
        "id": f"{scene.seed}-{time}",
        "seed": scene.seed,
        "time": time,
        "scene": scene.preset,
        "objects": [
            {
                "kind": o.kind,
                "paint": o.paint,
                "texture": o.texture,
                "depth": round(o.depth, 4),
                "position": [round(v, 4) for v in o.position],
                "parent": row.get(o.parent) if o.parent is not None else None,
                "ood": o.unseen is not None,
            }
            for o in known
        ],
        "relations": [list(r) for r in scene.relations],
        "zero_shot": [scene.triplet(r) in held for r in scene.relations],
        "ood": scene.ood,
        "ood_reason": strange[0].unseen if strange else None,
        "ood_objects": [{"kind": o.kind, "box": list(o.box)} for o in strange],
        "ood_mask": run_lengths(scene.ood_mask) if scene.ood else None,
        "caption": scene.caption(time),
        "instructions": scene.instructions(),
        "camera": {
            "focal": round(camera.focal, 4),
            "position": [round(v, 4) for v in camera.position],
            "yaw": round(camera.yaw, 5),
            "pitch": round(camera.pitch, 5),
            "roll": round(camera.roll, 5),
        },
    }


def run_lengths(mask: np.ndarray) -> dict[str, list[int]]:
    """A mask (H, W) as uncompressed COCO run lengths: zeros first, column by column."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return {"size": [int(v) for v in mask.shape], "counts": counts[: -1 if counts[-1] == 0 else None].tolist()}


@READERS.register("town")
def read_town(path: str, split: str = "train", **options: Any) -> TownSource:
    """Open "town:PRESET?key=value&...", for example "town:street?night=1&count=500&size=192x256".

    Args:
        path: A preset of `TownConfig` ("street", "room", "mixed") or of `visgen.data.town.presets` ("night_town",
            "toy_vg", "compositions", "instruct"), then fields of `TownConfig`, or `count`, `seed`, `tasks`
            (comma-separated), `night`.
        split: "train", "val" or "test".
        options: The same keys as keywords; they win over the path.
    Raises:
        ConfigError, UnknownName: A key or value is not known.
    """
    preset, _, query = path.partition("?")
    values: dict[str, Any] = {**dict(parse_qsl(query, keep_blank_values=True)), **options}
    count = _number("count", values.pop("count", 1000), int)
    seed = _number("seed", values.pop("seed", 0), int)
    tasks = values.pop("tasks", TASKS)
    if isinstance(tasks, str):
        tasks = tuple(tasks.split(","))
    tasks = convert(tuple[str, ...], tasks, "town option tasks")
    return TownSource(count, town_config(preset, values), seed, split=split, tasks=tasks)


def town_config(preset: str, values: dict[str, Any]) -> TownConfig:
    """A configuration from a preset's name and fields, as text or as values; "night" is short for time."""
    values = dict(values)
    if "night" in values:
        night = str(values.pop("night")).lower()
        if night not in _TRUTH:
            raise ConfigError(f"town option night is '{night}'; write night=1 or night=0.")
        values.setdefault("time", "night" if _TRUTH[night] else "day")
    known = {f.name: f.default for f in fields(TownConfig) if f.name != "preset"}
    for key in values:
        if key not in known:
            raise ConfigError(
                f"town option '{key}' is not known{nearest(key, known)} Known: {', '.join(sorted(known))}."
            )
    chosen = {key: _parse(key, value, known[key]) for key, value in values.items()}
    if preset in NAMED:
        return NAMED[preset](**chosen)  # type: ignore[operator]
    return TownConfig(preset=preset, **chosen)


_TRUTH = {"1": True, "true": True, "yes": True, "": True, "0": False, "false": False, "no": False}


def _number(key: str, value: Any, kind: type) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"town option {key} is {value!r}; give a number.") from None


def _parse(key: str, value: Any, default: Any) -> Any:
    """Read one option; text is parsed as the type of its default, other values must be of it."""
    if isinstance(default, bool) and type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        plain = tuple(value.items()) if key == "favour" and isinstance(value, Mapping) else value
        return convert(get_type_hints(TownConfig)[key], plain, f"town option {key}")
    if isinstance(default, bool):
        if value.lower() not in _TRUTH:
            raise ConfigError(f"town option {key} is '{value}'; write {key}=1 or {key}=0.")
        return _TRUTH[value.lower()]
    if isinstance(default, (int, float)):
        return _number(key, value, type(default))
    if isinstance(default, tuple):
        if default and isinstance(default[0], (int, float)):
            parts = value.replace("x", ",").split(",")
            return tuple(_number(key, part, type(default[0])) for part in parts)
        if key == "favour":
            pairs = (part.partition(":") for part in value.split(",") if part)
            return tuple((kind, _number(key, factor, float)) for kind, _, factor in pairs)
        if key == "holdout_triplets":
            return tuple(tuple(part.split("/")) for part in value.split(",") if part)
        return tuple(part for part in value.split(",") if part)
    return value
