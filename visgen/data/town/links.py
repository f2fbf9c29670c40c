"""Staging a composition: two things placed so that a wanted relation holds between them, drawn where it is visual."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from . import objects_street
from .config import SEMANTIC_CLASSES, VISUAL_PREDICATES
from .layout import MODELS, Link, Stage, Thing
from .parts import Parts, Vector
from .relations import LINKS, composition_weight
from .things import PAINTS, Look, jitter

__all__ = ["draw_composition", "stage_composition", "stage_links"]

HAND: Vector = (0.30, 1.15, 0.42)
ORANGE = (0.85, 0.25, 0.02)
LEATHER = (0.03, 0.02, 0.02)


def stage_links(stage: Stage, models: dict[str, str], wanted: tuple[str, str, str] | None) -> None:
    """Stage the wanted composition, then as many visual ones as the configuration draws."""
    count = stage.rng.randint(*stage.config.links)
    drawn = [wanted] if wanted else []
    for number in range(count + len(drawn)):
        composition = drawn[number] if number < len(drawn) else draw_composition(stage, models)
        if composition is None:
            return
        stage.parts.evidence = (0, 0)
        made = stage_composition(stage, models, composition)
        if made and made[1] in VISUAL_PREDICATES:
            stage.links.append(Link(*made, stage.parts.evidence))


def draw_composition(stage: Stage, models: dict[str, str]) -> tuple[str, str, str] | None:
    """Draw a visual composition by weight; kinds must have a model here and may not be held out."""
    config = stage.config
    held = set(config.holdout_triplets) if config.composition == "seen" else set()
    pool = [
        (s, p, o)
        for p, (subjects, targets) in LINKS.items()
        for s in subjects
        for o in targets
        if s in models
        and o in models
        and stage.allowed(s)
        and stage.allowed(o)
        and (s, p, o) not in held
        and (p != "matching" or (o, p, s) not in held)
    ]
    if not pool:
        return None
    predicate = stage.rng.choice(sorted({p for _, p, _ in pool}))
    pool = [c for c in pool if c[1] == predicate]
    return stage.rng.choices(pool, [composition_weight(*c) for c in pool])[0]


def stage_composition(
    stage: Stage, models: dict[str, str], wanted: tuple[str, str, str]
) -> tuple[int, str, int] | None:
    """Place subject and object of a composition near the camera; None where no room is left.

    Gives (subject instance, predicate, object instance). A visual relation is drawn; a geometric one follows from where
    the two stand (later things may still hide it).
    """
    subject, predicate, target = wanted
    if subject not in models or target not in models:
        return None
    maker = _MAKERS.get(predicate)
    if maker is None:
        return _place_geometric(stage, models, wanted)
    pair = maker(stage, models[subject], models[target])
    return None if pair is None else (pair[0].instance, predicate, pair[1].instance)


def _holding(stage: Stage, subject: str, target: str) -> tuple[Thing, Thing] | None:
    spot = stage.find(subject)
    if spot is None:
        return None
    x, z = spot
    yaw = stage.facing(x, z)
    if subject == "person":
        bearer = stage.add(subject, x, 0.0, z, yaw, build=partial(objects_street.person, hand=HAND))
        grip = (HAND[0], HAND[1] + 0.05, HAND[2])
    else:
        bearer = stage.add(subject, x, 0.0, z, yaw)
        grip = (0.0, 0.46, 0.62)
    return bearer, _attach(stage, target, bearer, grip, 1.0 if subject == "person" else 0.8)


def _wearing(stage: Stage, subject: str, target: str) -> tuple[Thing, Thing] | None:
    spot = stage.find(subject)
    if spot is None:
        return None
    bearer = stage.add(subject, *(spot[0], 0.0, spot[1]), stage.facing(*spot))
    head = {"person": (0.0, 1.69, 0.0), "cyclist": (0.0, 1.78, 0.18), "dog": (0.0, 0.69, 0.36)}[subject]
    back = {"person": (0.0, 0.98, -0.22), "cyclist": (0.0, 1.05, -0.22), "dog": (0.0, 0.57, -0.05)}[subject]
    # A bag shows best from the side: what is worn on the back is hidden when its bearer faces the camera.
    worn = _attach(stage, target, bearer, head if target == "hat" else back, 0.8 if subject == "dog" else 1.0)
    return bearer, worn


def _attach(stage: Stage, model: str, bearer: Thing, point: Vector, scale: float) -> Thing:
    """Hang a small object on its bearer, at a point of the bearer's frame."""
    x, y, z = bearer.world(point)
    return stage.add(model, x, y, z, bearer.yaw, scale, half=(0.0, 0.0))


def _leading(stage: Stage, subject: str, target: str) -> tuple[Thing, Thing] | None:
    pair = _two(stage, subject, target, 1.0, 1.9)
    if pair is None:
        return None
    leader, led = pair
    hand = leader.world({"person": (0.29, 0.9, 0.0), "cyclist": (0.25, 1.04, 0.36), "dog": (0.0, 0.5, 0.3)}[subject])
    collar = led.world({"dog": (0.0, 0.55, 0.3), "car": (0.0, 0.6, 2.1)}.get(target, (0.0, 0.18, 0.0)))
    _hang(stage, hand, collar, 0.25, 0.035, LEATHER)
    return leader, led


def _plugged(stage: Stage, subject: str, target: str) -> tuple[Thing, Thing] | None:
    pair = _two(stage, subject, target, 0.8, 2.2)
    if pair is None:
        return None
    device, socket = pair
    start = device.world((0.0, 0.12, 0.0))
    end = socket.world((0.0, 0.25, 0.0))
    edge = 0.75 * min(socket.half)
    run = math.hypot(start[0] - end[0], start[2] - end[2]) or 1.0
    end = (end[0] + (start[0] - end[0]) * edge / run, end[1], end[2] + (start[2] - end[2]) * edge / run)
    _hang(stage, start, end, 0.5, 0.045, ORANGE)
    return device, socket


def _pointing(stage: Stage, subject: str, target: str) -> tuple[Thing, Thing] | None:
    at = stage.find(target)
    if at is None:
        return None
    seen = stage.add(target, *(at[0], 0.0, at[1]), stage.facing(*at))
    spot = stage.find(subject, near=at, within=(0.9 + max(seen.half), 2.4 + max(seen.half)), beside=True)
    if spot is None:
        return None
    yaw = math.atan2(at[0] - spot[0], at[1] - spot[1]) + stage.rng.uniform(-0.3, 0.3)
    shoulder = (0.25, 1.38, 0.0) if subject == "person" else (0.2, 1.42, 0.12)
    stage.parts.place(spot[0], 0.0, spot[1], yaw, 1.0, -1, 0)
    origin = np.array(stage.parts.world(shoulder))
    aim = np.array([at[0], 0.5, at[1]]) - origin
    aim = aim / np.linalg.norm(aim) * 0.72
    c, s = math.cos(yaw), math.sin(yaw)
    hand = (shoulder[0] + c * aim[0] - s * aim[2], shoulder[1] + aim[1], shoulder[2] + s * aim[0] + c * aim[2])
    maker = objects_street.person if subject == "person" else objects_street.cyclist
    pointer = stage.add(subject, spot[0], 0.0, spot[1], yaw, build=partial(maker, hand=hand))
    return pointer, seen


def _matching(stage: Stage, subject: str, target: str) -> tuple[Thing, Thing] | None:
    rng = stage.rng
    first, second = rng.sample(sorted(set(PAINTS) - {"grey", "black", "brown"}), 2)
    texture = rng.choice([t for t in ("checker", "stripes", "bands") if t in stage.textures] or ["plain"])
    shared = Look(first, jitter(rng, PAINTS[first]), texture, jitter(rng, PAINTS[second]), 0.6, 0.0)
    return _two(stage, subject, target, 1.0, 3.0, shared)


def _two(
    stage: Stage, subject: str, target: str, nearest: float, farthest: float, look: Look | None = None
) -> tuple[Thing, Thing] | None:
    """Two things at a distance from rim to rim between `nearest` and `farthest` of each other, facing the camera."""
    spot = stage.find(subject)
    if spot is None:
        return None
    first = stage.add(subject, spot[0], 0.0, spot[1], stage.facing(*spot), look=look)
    reach = (max(first.half) + MODELS[target][2]) * 0.6
    other = stage.find(target, near=spot, within=(nearest + reach * 0.5, farthest + reach))
    if other is None:
        return None
    return first, stage.add(target, other[0], 0.0, other[1], stage.facing(*other), look=look)


def _hang(stage: Stage, start: Vector, end: Vector, sag: float, thickness: float, colour: Vector) -> None:
    """A rope or cord in four straight pieces that sags, never thinner than a pixel."""
    parts: Parts = stage.parts
    parts.place(0.0, 0.0, 0.0, 0.0, 1.0, -1, SEMANTIC_CLASSES.index("cord"))
    material = parts.material(colour)
    depth = max(stage.camera.project_point(*start)[2], stage.camera.project_point(*end)[2], 1.0)
    thickness = max(thickness, 1.3 * depth / stage.camera.focal)
    points = []
    for i in range(5):
        t = i / 4
        low = start[1] + (end[1] - start[1]) * t - 4 * sag * t * (1 - t)
        points.append((start[0] + (end[0] - start[0]) * t, max(low, thickness / 2), start[2] + (end[2] - start[2]) * t))
    first = len(parts.rows)
    for a, b in zip(points, points[1:], strict=False):
        parts.rod(a, b, thickness, material)
    parts.evidence = (first, len(parts.rows))


def _place_geometric(stage: Stage, models: dict[str, str], wanted: tuple[str, str, str]) -> tuple[int, str, int] | None:
    """Two things side by side, one behind the other as seen from the camera, or one on the other."""
    subject, predicate, target = wanted
    if predicate in ("right of", "behind", "under"):
        swap = {"right of": "left of", "behind": "in front of", "under": "on"}
        pair = _place_geometric(stage, models, (target, swap[predicate], subject))
        return None if pair is None else (pair[2], predicate, pair[0])
    spot = stage.find(models[target])
    if spot is None:
        return None
    base = stage.add(models[target], spot[0], 0.0, spot[1], stage.facing(*spot))
    if predicate == "on":
        placed = stage.put_on(models[subject], base)
        return None if placed is None else (placed.instance, predicate, base.instance)
    px, _, pz = stage.camera.position
    away = math.hypot(spot[0] - px, spot[1] - pz)
    ux, uz = (spot[0] - px) / away, (spot[1] - pz) / away  # from the camera to the object
    size = max(MODELS[models[subject]][2:]) + max(base.half)
    for step in (0.25, 0.45, 0.7):
        if predicate == "left of":
            x, z = spot[0] - uz * (size + step), spot[1] + ux * (size + step)
        else:
            x, z = spot[0] - ux * (size + step) + uz * 0.2, spot[1] - uz * (size + step) - ux * 0.2
        yaw = stage.facing(x, z)
        if stage.in_view(x, 0.5, z) and stage.free(x, z, stage.footprint(models[subject], yaw)):
            return stage.add(models[subject], x, 0.0, z, yaw).instance, predicate, base.instance
    return None


_MAKERS = {
    "holding": _holding,
    "wearing": _wearing,
    "leading": _leading,
    "plugged into": _plugged,
    "pointing at": _pointing,
    "matching": _matching,
}
assert set(_MAKERS) == set(VISUAL_PREDICATES)
