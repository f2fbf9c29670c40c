"""Streets: a road between sidewalks and rows of houses, with traffic, people and street furniture."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np

from .camera import Camera
from .config import SEMANTIC_CLASSES, TownConfig
from .layout import MODELS, PATTERNED, Ground, Stage, World
from .links import stage_links
from .parts import Parts
from .things import PAINTS, Look, jitter, shade

__all__ = ["lay_out_street", "person_scale", "strange_look"]

WALLS = (
    (0.42, 0.36, 0.28),
    (0.34, 0.12, 0.08),
    (0.50, 0.46, 0.40),
    (0.30, 0.30, 0.31),
    (0.52, 0.40, 0.20),
    (0.40, 0.24, 0.18),
)
CROWD = {
    "car": 5.0,
    "person": 4.5,
    "bus": 1.0,
    "truck": 0.9,
    "cyclist": 1.5,
    "dog": 1.3,
    "sign": 1.4,
    "bench": 1.0,
    "box": 1.1,
    "street lamp": 1.6,
    "tree": 1.8,
    "ball": 0.5,
    "bag": 0.5,
}


MODELS_OF = {
    kind: kind
    for kind in (
        "car",
        "person",
        "cyclist",
        "sign",
        "dog",
        "bench",
        "box",
        "chair",
        "table",
        "bottle",
        "plant",
        "ball",
        "hat",
        "bag",
    )
}
MODELS_OF["lamp"] = "street lamp"


def lay_out_street(
    config: TownConfig, rng: Random, unseen: str | None, composition: tuple[str, str, str] | None
) -> World:
    """Lay out a street; `unseen` asks for an out-of-distribution "kind" or "texture", `composition` for a triplet."""
    height, width = config.size
    ground = Ground(
        road=rng.uniform(3.2, 5.0),
        walk=rng.uniform(1.6, 3.6),
        crossing=rng.uniform(6, 22) if rng.random() < 0.35 else None,
        tint=rng.uniform(0.7, 1.3),
    )
    on_walk = rng.random() < 0.25
    edge = ground.road + ground.walk
    x = (
        rng.choice((-1, 1)) * rng.uniform(ground.road + 0.3, edge - 0.4)
        if on_walk
        else rng.uniform(-0.7, 0.7) * ground.road
    )
    camera = Camera(
        config.size,
        rng.uniform(*config.focal) * width,
        (x, rng.uniform(1.2, 2.1), 0.0),
        yaw=rng.gauss(0, 0.10) - 0.02 * x,
        pitch=rng.uniform(-0.03, 0.10),
        roll=rng.gauss(0, 0.012),
    )
    stage = Stage(config, rng, camera)
    if unseen == "kind":
        _place_unseen(stage, ground)
    stage.area = (-ground.road - ground.walk, ground.road + ground.walk, 3.0, 11.0)
    stage_links(stage, MODELS_OF, composition)
    wanted = rng.randint(*config.objects)
    strange = unseen == "texture"
    placed = len(stage.things)
    for _ in range(4 * wanted + 8):
        if placed >= wanted and not strange:
            break
        pool = [m for m in (PATTERNED if strange else CROWD) if m in CROWD and stage.allowed(m)]
        if not pool:
            break
        model = rng.choices(pool, stage.weights(pool, CROWD))[0]
        if _place(stage, ground, model, strange):
            placed += 1
            strange = False
    _line_with_houses(stage, ground)
    grass = stage.parts.material((0.1, 0.1, 0.1))
    planes = np.array([[0.0, 1.0, 0.0, 0.0]])
    return World(
        "street",
        camera,
        stage.parts,
        stage.things,
        planes,
        [SEMANTIC_CLASSES.index("road")],
        [grass],
        ground,
        stage.links,
    )


def _spot(stage: Stage, ground: Ground, model: str) -> tuple[float, float, float]:
    """A seeded place (x, z, yaw) that suits the model."""
    rng = stage.rng
    side = rng.choice((-1, 1))
    near, far = stage.config.distance
    z = near * math.exp(rng.random() ** 1.1 * math.log(far / near))
    edge = ground.road + ground.walk
    if model in ("car", "bus", "truck"):
        z += 2.0 + (4.0 if model == "bus" else 0.0)
        parked = model == "car" and rng.random() < 0.55
        x = side * (ground.road - 1.05 if parked else ground.road * 0.48)
        yaw = math.pi if side < 0 else 0.0  # traffic keeps to the right
        if rng.random() < 0.06 and model == "car":
            yaw += math.pi / 2
        return x, z, yaw + rng.gauss(0, 0.03)
    if model == "cyclist":
        return side * (ground.road - rng.uniform(0.6, 1.4)), z, (math.pi if side < 0 else 0.0) + rng.gauss(0, 0.15)
    if model == "person":
        if ground.crossing and rng.random() < 0.4:
            return (
                rng.uniform(-1, 1) * ground.road,
                ground.crossing + rng.uniform(0.3, 2.7),
                rng.choice((-1, 1)) * math.pi / 2,
            )
        return side * rng.uniform(ground.road + 0.3, edge - 0.3), z, rng.uniform(-math.pi, math.pi)
    if model == "tree":
        x = side * (ground.road + 0.5 if rng.random() < 0.6 else edge + rng.uniform(0.5, 3))
        return x, z + 2, rng.uniform(-3, 3)
    if model == "street lamp":
        return side * (ground.road + 0.35), z + 3, -side * math.pi / 2
    if model == "sign":
        return side * (ground.road + 0.3), z, math.pi + rng.gauss(0, 0.15)
    if model == "bench":
        return side * (edge - 0.45), z, -side * math.pi / 2
    return side * rng.uniform(ground.road + 0.35, edge - 0.4), z, rng.uniform(-math.pi, math.pi)


def _place(stage: Stage, ground: Ground, model: str, strange: bool) -> bool:
    """Place one object in view; `strange` dresses it in an unseen texture."""
    for _ in range(8):
        x, z, yaw = _spot(stage, ground, model)
        if strange:
            z = min(z, 11.0)
        scale = 1.6 if model in ("ball", "bag") else person_scale(stage, model)
        if not stage.in_view(x, 0.6, z, margin=0.0 if strange else 0.08):
            continue
        if stage.free(x, z, stage.footprint(model, yaw, scale), gap=0.1):
            stage.add(
                model,
                x,
                0.0,
                z,
                yaw,
                scale,
                look=strange_look(stage) if strange else None,
                unseen="texture" if strange else None,
            )
            return True
    return False


def person_scale(stage: Stage, model: str) -> float:
    """People differ in height; one in six is a child."""
    if model != "person":
        return 1.0
    return stage.rng.uniform(0.6, 0.75) if stage.rng.random() < 0.17 else stage.rng.uniform(0.93, 1.06)


def strange_look(stage: Stage) -> Look:
    """A look in an unseen texture, in two well-separated paints."""
    rng = stage.rng
    first, second = rng.sample(("red", "yellow", "white", "blue", "black", "pink"), 2)
    texture = rng.choice(stage.config.unseen_textures)
    return Look(first, jitter(rng, PAINTS[first]), texture, jitter(rng, PAINTS[second]), rng.uniform(0.7, 1.1), 0.0)


def _place_unseen(stage: Stage, ground: Ground) -> None:
    rng = stage.rng
    names = [m for m in MODELS if MODELS[m][0] in stage.config.unseen_kinds]
    for _ in range(60):
        model = rng.choice(names)
        z = rng.uniform(4.0, 14.0)
        x = rng.uniform(-1, 1) * (ground.road + ground.walk)
        yaw = rng.uniform(-math.pi, math.pi)
        if stage.in_view(x, 0.5, z) and stage.free(x, z, stage.footprint(model, yaw)):
            stage.add(model, x, 0.0, z, yaw, unseen="kind")
            return


def _line_with_houses(stage: Stage, ground: Ground) -> None:
    rng = stage.rng
    edge = ground.road + ground.walk
    for side in (-1, 1):
        dense = rng.random() < 0.82
        z = rng.uniform(-6, 2)
        while z < 72:
            front = rng.uniform(7, 16)
            if stage.allowed("building") and rng.random() < (0.93 if dense else 0.2):
                _house(stage, side, edge + rng.uniform(0, 0.6) + (0 if dense else rng.uniform(4, 12)), z, front)
            elif stage.allowed("tree") and rng.random() < 0.8:
                x = side * (edge + rng.uniform(1.5, 7))
                if stage.in_view(x, 2, z + front / 2, 0.1) and stage.free(x, z + front / 2, (0.5, 0.5)):
                    stage.add("tree", x, 0.0, z + front / 2, 0.0, rng.uniform(1, 1.4))
            z += front + (rng.uniform(1, 5) if rng.random() < 0.3 else 0.02)
    if stage.allowed("building") and rng.random() < 0.5:
        wide = rng.uniform(10, 24)
        half = (wide / 2, 4.0)
        look, x, z = _facade(rng), rng.uniform(-5, 5), rng.uniform(56, 62)
        stage.add(
            "building", x, 0.0, z + 4, math.pi, look=look, build=_builder(wide, rng.uniform(8, 20), 8.0), half=half
        )


def _facade(rng: Random) -> Look:
    wall = jitter(rng, rng.choice(WALLS), 0.3)
    return Look("brown", wall, "windows", jitter(rng, (0.06, 0.08, 0.11), 0.3), rng.uniform(2.2, 3.4), rng.random())


def _house(stage: Stage, side: int, x: float, z: float, front: float) -> None:
    rng = stage.rng
    deep, high = 9.0, rng.uniform(4.5, 8) if rng.random() < 0.45 else rng.uniform(8, 22)
    middle = z + front / 2
    if not any(
        stage.in_view(side * x, y, zz, 0.02) for y in (0.5, high * 0.5) for zz in (z + front, middle, max(z, 0.6))
    ):
        return
    look = _facade(rng)
    half = (deep / 2, front / 2)
    build = _builder(front, high, deep)
    stage.add("building", side * (x + deep / 2), 0.0, middle, -side * math.pi / 2, look=look, build=build, half=half)


def _builder(front: float, high: float, deep: float) -> Callable[[Parts, Look, Random], None]:
    def build(p: Parts, look: Look, rng: Random) -> None:
        glow = rng.uniform(0.8, 2.2)
        tint = rng.choice(((1.0, 0.75, 0.42), (1.0, 0.88, 0.65), (0.8, 0.9, 1.0)))
        wall = p.material(
            look.colour,
            "windows",
            second=look.second,
            scale=look.scale,
            phase=look.phase,
            glow=glow,
            glow_colour=tint,
            gloss=0.1,
        )
        trim = p.material(shade(look.colour, rng.choice((0.5, 1.35))))
        p.block((0, high / 2, 0), (front, high, deep), wall)
        base = p.material(shade(look.colour, 0.6), "bricks", second=shade(look.colour, 0.9), scale=0.7)
        p.block((0, 0.35, deep / 2), (front - 0.1, 0.7, 0.12), base)
        if high < 8 and rng.random() < 0.75:
            roof = p.material(jitter(rng, (0.26, 0.09, 0.06), 0.4), "tiles", second=(0.08, 0.05, 0.04), scale=0.6)
            p.block((0, high + 1.1, 0), (front + 0.4, 2.2, deep + 0.6), roof, taper=(1.0, 0.04))
        else:
            p.block((0, high + 0.15, 0), (front + 0.2, 0.35, deep + 0.2), trim)
        door = rng.uniform(-0.35, 0.35) * front
        p.block((door, 1.1, deep / 2), (1.1, 2.2, 0.1), p.material(jitter(rng, (0.12, 0.07, 0.05), 0.7)))
        if rng.random() < 0.4:
            shop = p.material((0.05, 0.06, 0.07), gloss=0.9, glow=rng.uniform(1.0, 3.0), glow_colour=tint)
            where = door + (2.6 if door < 0 else -2.6)
            p.block((where, 1.45, deep / 2), (2.8, 1.7, 0.1), shop)
            awning = p.material(rng.choice(list(PAINTS.values())), "stripes", second=(0.75, 0.75, 0.72), scale=0.5)
            p.block((where, 2.6, deep / 2 + 0.45), (3.1, 0.25, 0.9), awning, taper=(1, 0.1), shift=(0, -0.4))

    return build
