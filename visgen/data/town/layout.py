"""The stage on which scenes are laid out: places things without collisions, in view, with a seeded look."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from . import objects_room, objects_street
from .camera import Camera
from .config import IGNORED, KINDS, SEMANTIC_CLASSES, TEXTURES, TownConfig
from .parts import Parts, Vector
from .things import PAINTS, Look, Top, jitter

__all__ = ["MODELS", "PATTERNED", "Ground", "Link", "Stage", "Thing", "World"]

MODELS: dict[str, tuple[str, Callable, float, float]] = {
    # model: (kind, builder, half extent along x, along z) in metres, a little generous
    "car": ("car", objects_street.car, 1.0, 2.4),
    "bus": ("bus", objects_street.bus, 1.4, 5.9),
    "truck": ("truck", objects_street.truck, 1.3, 3.8),
    "person": ("person", objects_street.person, 0.4, 0.35),
    "cyclist": ("cyclist", objects_street.cyclist, 0.4, 0.95),
    "tree": ("tree", objects_street.tree, 0.5, 0.5),
    "street lamp": ("lamp", objects_street.street_lamp, 0.3, 0.3),
    "sign": ("sign", objects_street.sign, 0.45, 0.2),
    "dog": ("dog", objects_street.dog, 0.25, 0.65),
    "bench": ("bench", objects_street.bench, 0.9, 0.35),
    "box": ("box", objects_street.BUILDERS["box"], 0.45, 0.45),
    "table": ("table", objects_room.table, 0.85, 0.45),
    "chair": ("chair", objects_room.chair, 0.26, 0.28),
    "shelf": ("shelf", objects_room.shelf, 0.62, 0.18),
    "cabinet": ("cabinet", objects_room.cabinet, 1.12, 0.33),
    "sofa": ("sofa", objects_room.sofa, 1.12, 0.45),
    "bed": ("bed", objects_room.bed, 0.84, 1.03),
    "tv": ("tv", objects_room.tv, 0.56, 0.12),
    "picture": ("picture", objects_room.picture, 0.46, 0.05),
    "bottle": ("bottle", objects_room.bottle, 0.06, 0.06),
    "plant": ("plant", objects_room.plant, 0.2, 0.2),
    "ball": ("ball", objects_room.ball, 0.19, 0.19),
    "hat": ("hat", objects_room.hat, 0.2, 0.2),
    "bag": ("bag", objects_room.bag, 0.18, 0.1),
    "table lamp": ("lamp", objects_room.table_lamp, 0.15, 0.15),
    "floor lamp": ("lamp", objects_room.floor_lamp, 0.22, 0.22),
    "small box": ("box", objects_room.small_box, 0.18, 0.16),
    **{name: (name, build, 0.5, 0.5) for name, build in objects_room.UNSEEN_BUILDERS.items()},
}
PATTERNED = ("car", "bus", "truck", "box", "chair", "sofa", "bed", "cabinet", "person")
"""Kinds on which an unseen texture covers enough to be seen."""


@dataclass
class Thing:
    """One placed object. `position` is its foot in the world, `box` (low, high) its world bounds."""

    kind: str
    model: str
    instance: int
    position: tuple[float, float, float]
    yaw: float
    scale: float
    look: Look
    half: tuple[float, float]  # footprint along world x and z
    top: Top | None = None  # carrying surface, in metres of the world
    parent: int | None = None  # instance that carries it
    unseen: str | None = None  # "kind" or "texture" for the out-of-distribution object
    low: np.ndarray = field(default_factory=lambda: np.zeros(3))
    high: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def world(self, point: Vector) -> Vector:
        """A point of the object's frame in world coordinates."""
        c, s, k = math.cos(self.yaw), math.sin(self.yaw), self.scale
        x, y, z = self.position
        return x + k * (c * point[0] + s * point[2]), y + k * point[1], z + k * (c * point[2] - s * point[0])


@dataclass(frozen=True)
class Link:
    """A relation that was staged: instances, predicate, and the arm or cord that shows it (rows from, to; or none)."""

    subject: int
    predicate: str
    target: int
    rows: tuple[int, int]


@dataclass(frozen=True)
class Ground:
    """How the ground of a street is divided (metres from the middle of the road), or None for a room."""

    road: float
    walk: float
    crossing: float | None
    tint: float


@dataclass
class World:
    """A scene before it is drawn: camera, solids, things and background planes (P, 4) each with class and material."""

    preset: str
    camera: Camera
    parts: Parts
    things: list[Thing]
    planes: np.ndarray
    plane_classes: list[int]
    plane_materials: list[int]
    ground: Ground | None
    links: list[Link]


class Stage:
    """Holds what has been placed so far.

    Args:
        config: The town's configuration.
        rng: Random numbers of this scene.
        camera: Where it is seen from; placement prefers what is in view.
    """

    def __init__(self, config: TownConfig, rng: Random, camera: Camera) -> None:
        self.config, self.rng, self.camera = config, rng, camera
        self.favour = dict(config.favour)
        banned = set(config.unseen_textures)
        if not config.textures:
            banned |= set(TEXTURES) - {"plain"}
        self.parts = Parts(banned=frozenset(banned))
        self.things: list[Thing] = []
        self.links: list[Link] = []
        self.area = (-3.0, 3.0, 2.0, 9.0)  # x from, to, z from, to: where compositions are staged
        self.textures = [t for t in TEXTURES if t not in banned] or ["plain"]

    def look(self) -> Look:
        """A seeded paint, pattern and second colour."""
        rng = self.rng
        paint = rng.choice(list(PAINTS))
        other = rng.choice([name for name in PAINTS if name != paint])
        texture = "plain" if rng.random() < 0.4 else rng.choice(self.textures)
        return Look(
            paint, jitter(rng, PAINTS[paint]), texture, jitter(rng, PAINTS[other]), rng.uniform(0.5, 1.2), rng.random()
        )

    def allowed(self, model: str) -> bool:
        """True when the model's kind may appear in ordinary scenes."""
        kind = MODELS[model][0] if model in MODELS else model
        return kind in KINDS and kind not in self.config.unseen_kinds and kind not in self.config.absent_kinds

    def weights(self, pool: Sequence[str], usual: Mapping[str, float]) -> list[float]:
        """How likely each model of a pool is drawn: its usual weight times the factor that its kind is favoured by."""
        return [usual[m] * self.favour.get(MODELS[m][0], 1.0) for m in pool]

    def footprint(self, model: str, yaw: float, scale: float = 1.0) -> tuple[float, float]:
        """Half extents along world x and z."""
        _, _, hx, hz = MODELS[model]
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        return scale * (c * hx + s * hz), scale * (s * hx + c * hz)

    def free(self, x: float, z: float, half: tuple[float, float], y: float = 0.0, gap: float = 0.05) -> bool:
        """True when a footprint at height y touches nothing and leaves the camera room."""
        px, py, pz = self.camera.position
        if abs(x - px) < half[0] + 0.35 and abs(z - pz) < half[1] + 0.35 and y < py + 1:
            return False
        for other in self.things:
            if abs(other.position[1] - y) > 0.02:
                continue
            ox, _, oz = other.position
            if abs(x - ox) < half[0] + other.half[0] + gap and abs(z - oz) < half[1] + other.half[1] + gap:
                return False
        return True

    def facing(self, x: float, z: float) -> float:
        """The yaw of a thing at (x, z) that looks towards the camera, a little off or quite to one side."""
        px, _, pz = self.camera.position
        return math.atan2(px - x, pz - z) + self.rng.choice((0.0, 0.9, -0.9)) + self.rng.gauss(0, 0.2)

    def find(
        self, model: str, near: tuple[float, float] | None = None, within: tuple[float, float] = (0.0, 0.0),
        beside: bool = False,
    ) -> tuple[float, float] | None:  # fmt: skip
        """A free place (x, z) in view on the stage's area, or None.

        Args:
            near: Only within a range of metres of this point.
            beside: Only to the left or right of it, as the street or room runs.
        """
        rng, (x0, x1, z0, z1) = self.rng, self.area
        half = 0.9 * max(MODELS[model][2:])
        for _ in range(24):
            if near is None:
                x, z = rng.uniform(x0, x1), rng.uniform(z0, z1)
            else:
                angle, away = rng.uniform(-math.pi, math.pi), rng.uniform(*within)
                if beside:
                    angle = rng.choice((-1, 1)) * math.pi / 2 + rng.uniform(-0.6, 0.6)
                x, z = near[0] + away * math.sin(angle), near[1] + away * math.cos(angle) * 0.6
            inside = x0 + half <= x <= x1 - half and z0 + half <= z <= z1 - half
            if inside and self.in_view(x, 0.45, z, -0.05) and self.free(x, z, (half, half)):
                return x, z
        return None

    def in_view(self, x: float, y: float, z: float, margin: float = 0.0) -> bool:
        """True when a world point projects into the picture, or within `margin` of its width outside."""
        column, row, depth = self.camera.project_point(x, y, z)
        height, width = self.camera.size
        wide, tall = margin * width, margin * height
        return depth > 0.4 and -wide <= column <= width + wide and -tall <= row <= height + tall

    def add(
        self, model: str, x: float, y: float, z: float, yaw: float = 0.0, scale: float = 1.0,
        look: Look | None = None, parent: int | None = None, unseen: str | None = None, build: Callable | None = None,
        half: tuple[float, float] | None = None,
    ) -> Thing:  # fmt: skip
        """Build an object at (x, y, z) and give its record."""
        kind = MODELS[model][0] if model in MODELS else model
        look = look or self.look()
        instance = len(self.things)
        is_known = kind in KINDS and kind not in self.config.unseen_kinds
        semantic = SEMANTIC_CLASSES.index(kind) if is_known else IGNORED
        self.parts.place(x, y, z, yaw, scale, instance, semantic)
        banned = self.parts.banned
        if unseen:
            self.parts.banned = frozenset()
        top = (build or MODELS[model][1])(self.parts, look, self.rng)
        self.parts.banned = banned
        if top is not None:
            c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
            top = Top(
                y + top.height * scale,
                scale * (c * top.half_x + s * top.half_z),
                scale * (s * top.half_x + c * top.half_z),
            )
        half = half or self.footprint(model, yaw, scale)
        thing = Thing(kind, model, instance, (x, y, z), yaw, scale, look, half, top, parent, unseen)
        self.things.append(thing)
        return thing

    def put_on(self, model: str, carrier: Thing, tries: int = 6, **options: object) -> Thing | None:
        """Stand a small object on a carrier's top where there is room; None when there is none."""
        if carrier.top is None:
            return None
        top, (x, _, z) = carrier.top, carrier.position
        for _ in range(tries):
            yaw = self.rng.uniform(-math.pi, math.pi)
            half = self.footprint(model, yaw)
            room = (top.half_x - half[0], top.half_z - half[1])
            if min(room) < 0:
                continue
            px, pz = x + self.rng.uniform(-room[0], room[0]), z + self.rng.uniform(-room[1], room[1])
            if self.free(px, pz, half, y=top.height, gap=0.02):
                return self.add(model, px, top.height, pz, yaw, parent=carrier.instance, **options)  # type: ignore[arg-type]
        return None
