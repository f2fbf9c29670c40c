"""Rooms: six sides, windows and doors, furniture along the walls, things on the furniture and on the floor."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from .camera import Camera
from .config import KINDS, SEMANTIC_CLASSES, TownConfig
from .layout import MODELS, PATTERNED, Stage, Thing, World
from .links import stage_links
from .street import person_scale, strange_look
from .things import jitter, shade

__all__ = ["lay_out_room"]

ALONG = {"shelf": 1.4, "cabinet": 1.8, "sofa": 1.2, "bed": 0.9, "table": 0.9}
MIDDLE = {
    "table": 1.5,
    "chair": 1.6,
    "person": 1.6,
    "dog": 0.9,
    "box": 0.7,
    "floor lamp": 0.8,
    "plant": 0.8,
    "ball": 0.9,
    "bag": 0.6,
}
SMALL = {
    "bottle": 2.0,
    "plant": 1.0,
    "table lamp": 1.0,
    "small box": 1.3,
    "ball": 0.9,
    "hat": 0.7,
    "bag": 0.5,
    "tv": 0.8,
}
PAPERS = (
    (0.62, 0.58, 0.50),
    (0.55, 0.60, 0.62),
    (0.66, 0.64, 0.60),
    (0.42, 0.50, 0.40),
    (0.60, 0.46, 0.38),
    (0.36, 0.42, 0.55),
)


MODELS_OF = {kind: kind for kind in KINDS if kind in MODELS} | {"lamp": "floor lamp"}
for _outdoors in ("car", "bus", "truck", "cyclist", "tree", "picture", "sign", "bench"):
    del MODELS_OF[_outdoors]


def lay_out_room(
    config: TownConfig, rng: Random, unseen: str | None, composition: tuple[str, str, str] | None
) -> World:
    """Lay out one room; `unseen` asks for an out-of-distribution "kind" or "texture", `composition` for a relation."""
    close = rng.random() < 0.35  # a nook: most of it within arm's reach to three metres
    wide, high = rng.uniform(2.2, 3.6) if close else rng.uniform(3.0, 6.5), rng.uniform(2.35, 3.1)
    deep = rng.uniform(2.2, 3.4) if close else rng.uniform(3.2, 7.5)
    left, back = -wide * rng.uniform(0.2, 0.8), -rng.uniform(0.5, 1.2)
    right, front = left + wide, back + deep
    height, width = config.size
    camera = Camera(
        config.size,
        rng.uniform(*config.focal) * width,
        (0.0, rng.uniform(1.05, 1.75), 0.0),
        yaw=math.atan2((left + right) / 2, front) * 0.7 + rng.uniform(-0.55, 0.55),
        pitch=rng.uniform(0.0, 0.5),
        roll=rng.gauss(0, 0.02),
    )
    stage = Stage(config, rng, camera)
    bounds = (left, right, back, front, high)
    if unseen == "kind":
        _stand(stage, bounds, [m for m in MODELS if MODELS[m][0] in config.unseen_kinds], None, "kind")
    wanted = rng.randint(*config.objects)
    if unseen == "texture":
        pool = [m for m in PATTERNED if m in MIDDLE and stage.allowed(m)] or [m for m in MIDDLE if stage.allowed(m)]
        _stand(stage, bounds, pool, None, "texture")
    stage.area = (left + 0.05, right - 0.05, 0.9, front - 0.05)
    stage_links(stage, MODELS_OF, composition)
    for _ in range(rng.randint(2, 4)):
        _furnish(stage, bounds)
    for _ in range(3 * wanted):
        if len(stage.things) >= wanted:
            break
        carriers = [t for t in stage.things if t.top is not None and t.unseen != "kind"]
        if carriers and rng.random() < 0.55:
            _decorate(stage, rng.choice(carriers))
        else:
            _stand(stage, bounds, [m for m in MIDDLE if stage.allowed(m)], MIDDLE, None)
    _fit_walls(stage, bounds)
    return _enclose(stage, bounds)


def _enclose(stage: Stage, bounds: tuple) -> World:
    left, right, back, front, high = bounds
    rng, parts = stage.rng, stage.parts
    paper = jitter(rng, rng.choice(PAPERS), 0.2)
    pattern = rng.choice(("plain", "plain", "noise", "stripes", "bricks", "tiles"))
    second = shade(paper, rng.choice((0.8, 0.9, 1.08)))
    wall = parts.material(paper, pattern, second=second, scale=rng.uniform(0.25, 0.6))
    accent = parts.material(shade(jitter(rng, rng.choice(PAPERS), 0.2), 0.9)) if rng.random() < 0.3 else wall
    floor_tone = jitter(
        rng, rng.choice(((0.30, 0.18, 0.09), (0.42, 0.30, 0.18), (0.35, 0.34, 0.33), (0.22, 0.10, 0.09))), 0.25
    )
    floor = parts.material(
        floor_tone,
        rng.choice(("planks", "planks", "tiles", "noise", "checker")),
        second=shade(floor_tone, 0.6),
        scale=rng.uniform(0.3, 0.6),
        gloss=0.15,
    )
    ceiling = parts.material(jitter(rng, (0.72, 0.71, 0.69), 0.08))
    planes = np.array(
        [
            [0, -1, 0, 0],
            [0, 1, 0, high],
            [-1, 0, 0, -left],
            [1, 0, 0, right],
            [0, 0, -1, -back],
            [0, 0, 1, front],
        ],
        dtype=np.float64,
    )
    names = ("floor", "ceiling", "wall", "wall", "wall", "wall")
    classes = [SEMANTIC_CLASSES.index(n) for n in names]
    return World(
        "room",
        stage.camera,
        parts,
        stage.things,
        planes,
        classes,
        [floor, ceiling, wall, wall, wall, accent],
        None,
        stage.links,
    )


def _walls(bounds: tuple) -> list[tuple[float, float, float, float]]:
    """Left, right and far wall as (middle x, middle z, length, yaw of what stands against it)."""
    left, right, back, front, _ = bounds
    return [
        (left, (back + front) / 2, front - back, math.pi / 2),
        (right, (back + front) / 2, front - back, -math.pi / 2),
        ((left + right) / 2, front, right - left, math.pi),
    ]


def _against(wall: tuple, along: float, out: float) -> tuple[float, float]:
    """The point `along` metres from the wall's middle and `out` metres in front of it."""
    x, z, _, yaw = wall
    nx, nz = math.sin(yaw), math.cos(yaw)
    return x + nx * out + nz * along, z + nz * out - nx * along


def _furnish(stage: Stage, bounds: tuple) -> Thing | None:
    """Stand one large piece against a wall, in view."""
    rng = stage.rng
    pool = [m for m in ALONG if stage.allowed(m)]
    if not pool:
        return None
    for _ in range(12):
        wall = rng.choice(_walls(bounds))
        model = rng.choices(pool, stage.weights(pool, ALONG))[0]
        half_x, half_z = MODELS[model][2:]
        reach = wall[2] / 2 - half_x - 0.05
        if reach < 0:
            continue
        x, z = _against(wall, rng.uniform(-reach, reach), half_z + 0.03)
        if stage.in_view(x, 0.6, z, 0.1) and stage.free(x, z, stage.footprint(model, wall[3])):
            return stage.add(model, x, 0.0, z, wall[3])
    return None


def _stand(
    stage: Stage, bounds: tuple, pool: list[str], weights: dict[str, float] | None, unseen: str | None
) -> Thing | None:
    """Stand one thing on the floor, in view, chairs often at a table."""
    rng = stage.rng
    left, right, back, front, _ = bounds
    if not pool:
        return None
    for attempt in range(40 if unseen else 10):
        model = rng.choices(pool, stage.weights(pool, weights) if weights else None)[0]
        yaw = rng.choice((0.0, math.pi / 2, math.pi, -math.pi / 2)) + rng.gauss(0, 0.25)
        scale = 0.75 if unseen == "kind" and attempt > 15 else person_scale(stage, model)
        half = stage.footprint(model, yaw, scale)
        deepest = front - half[1] - 0.05
        if right - left < 2 * half[0] + 0.2 or deepest < 0.9:
            continue
        x, z = rng.uniform(left + half[0] + 0.05, right - half[0] - 0.05), rng.uniform(0.9, deepest)
        tables = [t for t in stage.things if t.kind == "table"]
        if model == "chair" and tables and rng.random() < 0.7:
            x, z, yaw = _at_table(rng, rng.choice(tables))
            half = stage.footprint(model, yaw)
            if not (left + half[0] < x < right - half[0] and back + half[1] < z < front - half[1]):
                continue
        if stage.in_view(x, 0.45 if not unseen else 0.7, z) and stage.free(x, z, half):
            look = strange_look(stage) if unseen == "texture" else None
            return stage.add(model, x, 0.0, z, yaw, scale, look=look, unseen=unseen)
    return None


def _at_table(rng: Random, table: Thing) -> tuple[float, float, float]:
    """A place for a chair at one side of a table, facing it."""
    nx, nz = rng.choice(((0, 1), (0, -1), (1, 0), (-1, 0)))
    out = (table.half[0] if nx else table.half[1]) + 0.35
    slide = rng.uniform(-0.4, 0.4) * (table.half[1] if nx else table.half[0])
    x = table.position[0] + nx * out + (0 if nx else slide)
    z = table.position[2] + nz * out + (slide if nx else 0)
    return x, z, math.atan2(-nx, -nz) + rng.gauss(0, 0.1)


def _decorate(stage: Stage, carrier: Thing) -> None:
    pool = [m for m in SMALL if stage.allowed(m) and (m != "tv" or carrier.kind in ("table", "shelf", "cabinet"))]
    if pool:
        model = stage.rng.choices(pool, stage.weights(pool, SMALL))[0]
        stage.put_on(model, carrier)


def _fit_walls(stage: Stage, bounds: tuple) -> None:
    """Windows, a door and pictures on the walls, and a skirting board."""
    rng, parts = stage.rng, stage.parts
    high = bounds[4]
    board = parts.material(jitter(rng, (0.6, 0.58, 0.55), 0.3))
    for wall in _walls(bounds):
        x, z, length, yaw = wall
        parts.place(x, 0, z, yaw, 1.0, -1, SEMANTIC_CLASSES.index("wall"))
        parts.block((0, 0.05, 0.01), (length, 0.1, 0.02), board)
        if rng.random() < 0.55:
            parts.place(x, 0, z, yaw, 1.0, -1, SEMANTIC_CLASSES.index("window"))
            _window(stage, rng.uniform(-0.3, 0.3) * length, high)
        elif rng.random() < 0.35:
            parts.place(x, 0, z, yaw, 1.0, -1, SEMANTIC_CLASSES.index("door"))
            _door(stage, rng.uniform(-0.3, 0.3) * length)
        elif stage.allowed("picture"):
            px, pz = _against(wall, rng.uniform(-0.35, 0.35) * length, 0.005)
            if stage.in_view(px, 1.5, pz, 0.05):
                stage.add("picture", px, rng.uniform(1.4, 1.7), pz, yaw)


def _window(stage: Stage, along: float, high: float) -> None:
    rng, parts = stage.rng, stage.parts
    wide, tall = rng.uniform(0.8, 1.6), rng.uniform(0.9, 1.3)
    middle = min(high - 0.25 - tall / 2, 1.55)
    frame = parts.material(jitter(rng, (0.68, 0.67, 0.65), 0.2))
    pane = parts.material((0.02, 0.03, 0.05), "daylight", second=(0.02, 0.03, 0.05), gloss=0.9)
    parts.block((along, middle, 0.02), (wide + 0.1, tall + 0.1, 0.04), frame)
    parts.block((along, middle, 0.03), (wide, tall, 0.03), pane)
    parts.block((along, middle, 0.035), (0.05, tall, 0.04), frame)
    parts.block((along, middle - tall / 2 - 0.06, 0.07), (wide + 0.2, 0.04, 0.14), frame)


def _door(stage: Stage, along: float) -> None:
    rng, parts = stage.rng, stage.parts
    tone = jitter(rng, rng.choice(((0.55, 0.53, 0.50), (0.28, 0.15, 0.07))), 0.2)
    parts.block((along, 1.02, 0.015), (0.98, 2.06, 0.03), parts.material(shade(tone, 0.75)))
    parts.block((along, 1.0, 0.025), (0.86, 2.0, 0.03), parts.material(tone))
    parts.ball((along + 0.36, 1.0, 0.06), (0.03, 0.03, 0.03), parts.material((0.5, 0.45, 0.3), gloss=0.6))
