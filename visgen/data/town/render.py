"""Seed to scene: lay out, rasterise, label, and light by day or night."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from .camera import Camera
from .config import KINDS, TownConfig
from .daylight import by_day
from .layout import Thing, World
from .night import by_night
from .parts import Solids
from .raster import rasterise
from .room import lay_out_room
from .street import lay_out_street
from .surface import Pixels, resolve

__all__ = ["Scene", "SceneObject", "render"]


@dataclass
class SceneObject:
    """One visible object: exact label values.

    `box` is xyxy in pixel edges around its visible pixels, `area` their number, `depth` their median depth in metres,
    `position` its foot in world metres, `label` its number in KINDS or -1 for an unseen kind.
    """

    instance: int
    kind: str
    label: int
    box: tuple[int, int, int, int]
    area: int
    depth: float
    position: tuple[float, float, float]
    paint: str
    texture: str
    unseen: str | None
    parent: int | None


@dataclass
class Scene:
    """A rendered world with its labels.

    Attributes:
        images: "day" and/or "night" to a picture (H, W, 3) uint8.
        semantic: (H, W) uint8 of SEMANTIC_CLASSES, 255 on unseen kinds.
        instance: (H, W) int16, -1 where no object is.
        depth: z in metres (H, W) float32, 0 for the sky and beyond `max_depth`.
    """

    seed: int
    config: TownConfig
    preset: str
    camera: Camera
    images: dict[str, np.ndarray]
    semantic: np.ndarray
    instance: np.ndarray
    depth: np.ndarray
    objects: list[SceneObject]
    relations: list[tuple[int, str, int]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)

    def masks(self) -> np.ndarray:
        """Visible masks (Q, H, W) bool of the objects that have a label."""
        numbers = np.array([o.instance for o in self.objects if o.label >= 0], np.int16)
        return self.instance[None] == numbers[:, None, None]


def render(seed: int, config: TownConfig | None = None) -> Scene:
    """Render the scene of a seed; the same seed and configuration give the same bytes in every process."""
    config = config or TownConfig()
    rng = Random(f"town {int(seed)}")
    preset = config.preset if config.preset != "mixed" else rng.choice(("street", "room"))
    unseen = None
    if rng.random() < config.ood_share:
        modes = [mode for mode, names in (("kind", config.unseen_kinds), ("texture", config.unseen_textures)) if names]
        unseen = rng.choice(modes)
    time = config.time if config.time != "random" else rng.choice(("day", "night"))
    world = (lay_out_street if preset == "street" else lay_out_room)(config, rng, unseen)
    solids = world.parts.solids()
    _bound(world.things, solids)
    surfaces = rasterise(world.camera, solids, world.planes, inside=world.ground is None)
    pixels = resolve(world, solids, surfaces)
    depth = np.where(pixels.sky | (pixels.depth > config.max_depth), 0, pixels.depth).astype(np.float32)
    objects = _objects(world, pixels, config)
    images = {}
    for name in ("day", "night") if time == "both" else (time,):
        images[name] = _picture(name, world, pixels, seed, config)
    shape = pixels.size
    return Scene(
        int(seed), config, preset, world.camera, images, pixels.semantic.reshape(shape), pixels.instance.reshape(shape),
        depth.reshape(shape), objects,
    )  # fmt: skip


def _picture(time: str, world: World, pixels: Pixels, seed: int, config: TownConfig) -> np.ndarray:
    rng = Random(f"{time} {int(seed)}")
    return (by_night if time == "night" else by_day)(world, pixels, rng, config.degrade)


def _bound(things: list[Thing], solids: Solids) -> None:
    """Fill in the world bounds of every thing."""
    low, high = solids.corners.min(axis=1), solids.corners.max(axis=1)
    for thing in things:
        mine = solids.instance == thing.instance
        thing.low, thing.high = low[mine].min(axis=0), high[mine].max(axis=0)


def _objects(world: World, pixels: Pixels, config: TownConfig) -> list[SceneObject]:
    """Records of the things with enough visible pixels."""
    height, width = pixels.size
    out = []
    flat = pixels.instance
    shown = np.flatnonzero(flat >= 0)
    order = shown[np.argsort(flat[shown], kind="stable")]
    numbers, starts = np.unique(flat[order], return_index=True)
    for number, where in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        if len(where) < config.min_pixels:
            continue
        thing = world.things[number]
        rows, columns = where // width, where % width
        box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
        label = KINDS.index(thing.kind) if thing.kind in KINDS and thing.kind not in config.unseen_kinds else -1
        depth = float(np.median(pixels.depth[where]))
        out.append(
            SceneObject(
                number, thing.kind, label, box, len(where), round(depth, 4), tuple(round(float(v), 4) for v in thing.position),
                thing.look.paint, thing.look.texture, thing.unseen, thing.parent,
            )  # fmt: skip
        )
    return out
