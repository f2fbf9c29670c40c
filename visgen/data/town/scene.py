"""Seed to scene: lay out, rasterise, label, and light by day or night."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from .camera import Camera
from .config import KINDS, TownConfig
from .daylight import by_day
from .layout import Link, Thing, World
from .night import by_night
from .parts import Solids
from .raster import FACES, Surfaces, rasterise
from .relations import true_relations
from .room import MODELS_OF as ROOM_MODELS
from .room import lay_out_room
from .street import MODELS_OF as STREET_MODELS
from .street import lay_out_street
from .surface import Pixels, resolve
from .text import write_caption, write_instructions
from .things import Top

__all__ = ["Scene", "SceneObject", "render"]

_ATTEMPTS = 12  # layouts tried for a scene that must show something particular


@dataclass
class SceneObject:
    """One visible object, unseen kinds included.

    Attributes:
        instance: Its number in `Scene.instance`.
        kind, label: Name and number in KINDS; -1 for an unseen kind.
        box: xyxy in pixel edges around its visible pixels; `area` is their number, `depth` their median z in metres.
        position: Its foot in the world, metres; `low` and `high` bound it there, `middle` is its footprint's (x, z).
        top: Its level surface in the world, or None.
        paint, texture: Name of its main paint, and its pattern.
        unseen: "kind" or "texture" when it is out of distribution.
        parent: Instance of what it stands on, or None.
    """

    instance: int
    kind: str
    label: int
    box: tuple[int, int, int, int]
    area: int
    depth: float
    position: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    middle: tuple[float, float]
    top: Top | None
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
        objects: The visible objects; `labelled` are those of a known kind.
        true_relations: Every relation (row, predicate, row) that holds between `labelled` objects.
        relations: Those of them that are written down (`relation_share`).
        ood: True when a pixel of an unseen kind, or of an object in an unseen texture, is visible.
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
    true_relations: list[tuple[int, str, int]]
    relations: list[tuple[int, str, int]]
    ood: bool
    ood_mask: np.ndarray

    @property
    def labelled(self) -> list[SceneObject]:
        """Visible objects of known kinds, in the order of boxes, masks and relation rows."""
        return [o for o in self.objects if o.label >= 0]

    def masks(self) -> np.ndarray:
        """Visible masks (Q, H, W) bool of the labelled objects."""
        numbers = np.array([o.instance for o in self.labelled], np.int16)
        return self.instance[None] == numbers[:, None, None]

    def triplet(self, relation: tuple[int, str, int]) -> tuple[str, str, str]:
        """Kind names of a relation."""
        known = self.labelled
        return known[relation[0]].kind, relation[1], known[relation[2]].kind

    def caption(self, time: str) -> str:
        """A sentence or two about the picture at that time."""
        return write_caption(self.preset, time, self.objects, self.relations)

    def instructions(self) -> list[dict[str, Any]]:
        """Instructions with their meaning; see `visgen.data.town.text.write_instructions`."""
        return write_instructions(self.seed, self.objects, self.true_relations, self.ood)


@dataclass
class _Draft:
    world: World
    solids: Solids
    surfaces: Surfaces
    objects: list[SceneObject]
    relations: list[tuple[int, str, int]]


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
    draft = _settle(seed, config, preset, unseen)
    world = draft.world
    pixels = resolve(world, draft.solids, draft.surfaces, night=time != "day")
    shape = pixels.size
    strange = [t.instance for t in world.things if t.unseen]
    ood_mask = np.isin(pixels.instance, strange).reshape(shape)
    share = Random(f"relations {int(seed)}")
    return Scene(
        seed=int(seed),
        config=config,
        preset=preset,
        camera=world.camera,
        images={
            name: _picture(name, world, pixels, seed, config)
            for name in (("day", "night") if time == "both" else (time,))
        },
        semantic=pixels.semantic.reshape(shape),
        instance=pixels.instance.reshape(shape),
        depth=np.where(pixels.sky | (pixels.depth > config.max_depth), np.float32(0), pixels.depth).reshape(shape),
        objects=draft.objects,
        true_relations=draft.relations,
        relations=[r for r in draft.relations if share.random() < config.relation_share],
        ood=bool(ood_mask.any()),
        ood_mask=ood_mask,
    )


def _settle(seed: int, config: TownConfig, preset: str, unseen: str | None) -> _Draft:
    """Lay scenes out until one shows what it must, and clear it of compositions that it must not show."""
    held = set(config.holdout_triplets)
    staged = held if config.composition == "heldout" else set()
    models = STREET_MODELS if preset == "street" else ROOM_MODELS
    lay_out = lay_out_street if preset == "street" else lay_out_room
    pool = sorted(c for c in staged if c[0] in models and c[2] in models)
    enough = config.size[0] * config.size[1] // 300
    for attempt in range(_ATTEMPTS):
        rng = Random(f"layout {int(seed)} {attempt}")
        world = lay_out(config, rng, unseen, rng.choice(pool) if pool else None)
        draft = _draft(world, config, frozenset())
        if config.composition == "seen" and held:
            draft = _clear(draft, config, held)
        shown = not unseen or any(o.unseen and o.area >= enough for o in draft.objects)
        known = [o for o in draft.objects if o.label >= 0]
        found = not pool or any((known[s].kind, p, known[o].kind) in staged for s, p, o in draft.relations)
        if shown and found and (known or config.objects[1] == 0):
            break
    return draft


def _draft(world: World, config: TownConfig, removed: frozenset[int]) -> _Draft:
    """Rasterise a world without the `removed` instances and read its objects and relations."""
    rows = world.parts.table()
    keep = ~np.isin(rows[:, 1], list(removed))
    for link in world.links:
        if link.subject in removed or link.target in removed:
            keep[slice(*link.rows)] &= rows[slice(*link.rows), 1] >= 0
    kept = np.flatnonzero(keep)
    solids = Solids(rows[kept])
    things = [t for t in world.things if t.instance not in removed]
    _bound(things, solids)
    surfaces = rasterise(world.camera, solids, world.planes, inside=world.ground is None)
    owner = np.concatenate([np.repeat(solids.instance, FACES), [-1]])
    instance = owner[np.maximum(surfaces.surface.ravel(), -1)]
    objects = _objects(things, instance, surfaces.inverse_depth.ravel(), config)
    links = [(k.subject, k.predicate, k.target) for k in world.links if _is_shown(k, kept, surfaces)]
    relations = true_relations([o for o in objects if o.label >= 0], links)
    return _Draft(world, solids, surfaces, objects, relations)


def _is_shown(link: Link, kept: np.ndarray, surfaces: Surfaces) -> bool:
    """True when at least 4 pixels of the arm or cord that shows a relation are visible, or it needs none."""
    if link.rows[0] == link.rows[1]:
        return True
    first, last = np.searchsorted(kept, link.rows) * FACES
    return int(((surfaces.surface >= first) & (surfaces.surface < last)).sum()) >= 4


def _clear(draft: _Draft, config: TownConfig, held: set[tuple[str, str, str]]) -> _Draft:
    """Take objects away until no held-out composition is left."""
    removed: set[int] = set()
    while True:
        known = [o for o in draft.objects if o.label >= 0]
        bad = [(known[s], known[o]) for s, p, o in draft.relations if (known[s].kind, p, known[o].kind) in held]
        if not bad:
            break
        linked = {i for link in draft.world.links for i in (link.subject, link.target)}
        victim = min(bad[0], key=lambda o: (o.unseen is not None, o.instance in linked, o.area))
        removed |= _dependants(draft.world, victim.instance)
        draft = _draft(draft.world, config, frozenset(removed))
    if removed:
        parts = draft.world.parts
        parts.lights = [light for light in parts.lights if light.instance not in removed]
        draft.world.things = [t for t in draft.world.things if t.instance not in removed]
    return draft


def _dependants(world: World, instance: int) -> set[int]:
    """An instance with all that stands on it or that it carries, holds or wears."""
    gone = {instance}
    while True:
        more = {t.instance for t in world.things if t.parent in gone}
        more |= {k.target for k in world.links if k.subject in gone and k.predicate in ("holding", "wearing")}
        if more <= gone:
            return gone
        gone |= more


def _picture(time: str, world: World, pixels: Pixels, seed: int, config: TownConfig) -> np.ndarray:
    rng = Random(f"{time} {int(seed)}")
    return (by_night if time == "night" else by_day)(world, pixels, rng, config.degrade)


def _bound(things: Sequence[Thing], solids: Solids) -> None:
    """Fill in the world bounds of every thing."""
    low, high = solids.corners.min(axis=1), solids.corners.max(axis=1)
    order = np.argsort(solids.instance, kind="stable")
    numbers, starts = np.unique(solids.instance[order], return_index=True)
    lows, highs = np.minimum.reduceat(low[order], starts), np.maximum.reduceat(high[order], starts)
    place = {int(n): i for i, n in enumerate(numbers)}
    for thing in things:
        thing.low, thing.high = lows[place[thing.instance]], highs[place[thing.instance]]


def _objects(
    things: Sequence[Thing], instance: np.ndarray, inverse: np.ndarray, config: TownConfig
) -> list[SceneObject]:
    """Records of the things with enough visible pixels."""
    width = config.size[1]
    shown = np.flatnonzero(instance >= 0)
    instance = instance.astype(np.int16)  # short integers sort by radix, in a tenth of the time
    order = shown[np.argsort(instance[shown], kind="stable")]
    numbers, starts = np.unique(instance[order], return_index=True)
    by_number = {t.instance: t for t in things}
    out = []
    for number, where in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True) if len(order) else ():
        if len(where) < config.min_pixels:
            continue
        thing = by_number[number]
        columns = where % width
        box = (int(columns.min()), int(where[0]) // width, int(columns.max()) + 1, int(where[-1]) // width + 1)
        known = thing.kind in KINDS and thing.kind not in config.unseen_kinds
        out.append(
            SceneObject(
                instance=number,
                kind=thing.kind,
                label=KINDS.index(thing.kind) if known else -1,
                box=box,
                area=len(where),
                depth=1 / float(np.median(inverse[where])),
                position=thing.position,
                low=tuple(thing.low.tolist()),
                high=tuple(thing.high.tolist()),
                middle=(thing.position[0], thing.position[2]),
                top=thing.top,
                paint=thing.look.paint,
                texture=thing.look.texture,
                unseen=thing.unseen,
                parent=thing.parent,
            )
        )
    return out
