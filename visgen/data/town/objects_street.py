"""Objects of the street: each builder adds the parts of one, standing on the ground with its front towards +z."""

from __future__ import annotations

from random import Random

from .parts import Parts, Vector
from .things import SKINS, Look, Top, jitter, shade

__all__ = ["BUILDERS"]

GLASS = (0.05, 0.07, 0.09)
RUBBER = (0.02, 0.02, 0.022)
STEEL = (0.30, 0.31, 0.33)


def _wheels(p: Parts, radius: float, half: float, axles: tuple[float, ...]) -> None:
    rubber = p.material(RUBBER)
    hub = p.material(STEEL, gloss=0.3)
    for z in axles:
        for side in (-1, 1):
            p.tube((side * (half - 0.1), radius, z), radius, 0.22, rubber, axis="x")
            p.tube((side * (half + 0.02), radius, z), radius * 0.5, 0.03, hub, axis="x")


def _headlights(p: Parts, half: float, height: float, front: float, back: float) -> None:
    white = p.material((0.8, 0.8, 0.75), glow=30.0, glow_colour=(1.0, 0.95, 0.85))
    red = p.material((0.45, 0.02, 0.02), glow=3.0, glow_colour=(1.0, 0.05, 0.03))
    for side in (-1, 1):
        p.block((side * half * 0.72, height, front), (0.28, 0.14, 0.06), white)
        p.block((side * half * 0.75, height + 0.05, -back), (0.26, 0.14, 0.06), red)
        p.lamp((side * half * 0.72, height, front + 0.1), (60.0, 56.0, 48.0), axis=(0.0, -0.06, 1.0), cosine=0.90)
        p.lamp((side * half * 0.75, height, -back - 0.1), (0.8, 0.05, 0.03), axis=(0.0, 0.0, -1.0), cosine=0.1)


def car(p: Parts, look: Look, rng: Random) -> None:
    length, half = rng.uniform(3.8, 4.7), rng.uniform(0.82, 0.92)
    body = p.material(look.colour, look.texture, second=look.second, scale=look.scale, phase=look.phase, gloss=0.5)
    glass = p.material(GLASS, gloss=0.9)
    cabin = rng.uniform(0.5, 0.62)
    deck = rng.uniform(0.78, 0.92)
    p.block((0, (deck + 0.25) / 2, 0), (2 * half, deck - 0.25, length), body, taper=(0.94, 0.97))
    back = rng.uniform(-0.12, 0.0) * length
    p.block(
        (0, deck + cabin / 2, back),
        (2 * half * 0.92, cabin, length * 0.56),
        glass,
        taper=(0.80, 0.62),
        shift=(0, -0.06),
    )
    p.block((0, deck + cabin, back - 0.06), (2 * half * 0.76, 0.06, length * 0.36), body)
    _wheels(p, 0.32, half, (length * 0.31, -length * 0.31))
    _headlights(p, half, deck * 0.78, length / 2, length / 2)
    p.block((0, 0.34, length / 2), (half * 1.7, 0.16, 0.1), p.material(shade(look.colour, 0.45)))


def bus(p: Parts, look: Look, rng: Random) -> None:
    length, height, half = rng.uniform(8.5, 11.5), rng.uniform(2.9, 3.3), 1.25
    body = p.material(look.colour, look.texture, second=look.second, scale=look.scale * 2, phase=look.phase, gloss=0.3)
    glass = p.material(
        GLASS, "stripes", second=shade(look.colour, 0.5), scale=1.3, gloss=0.8, glow=1.3, glow_colour=(1.0, 0.9, 0.7)
    )
    pane = p.material(GLASS, gloss=0.9, glow=0.4)
    p.block((0, height / 2 + 0.2, 0), (2 * half, height - 0.4, length), body)
    p.block((0, height * 0.68, -0.1), (2 * half + 0.04, height * 0.3, length * 0.92), glass)
    p.block((0, height * 0.64, length / 2), (2 * half * 0.9, height * 0.4, 0.06), pane)
    p.block((0, height * 0.68, -length / 2), (2 * half * 0.8, height * 0.25, 0.06), pane)
    p.block(
        (0, height * 0.92, length / 2),
        (half, 0.26, 0.1),
        p.material((0.02, 0.02, 0.02), glow=2.5, glow_colour=(1.0, 0.55, 0.1)),
    )
    _wheels(p, 0.48, half, (length * 0.33, -length * 0.27))
    _headlights(p, half, 0.75, length / 2, length / 2)


def truck(p: Parts, look: Look, rng: Random) -> None:
    length, half = rng.uniform(5.5, 7.5), 1.15
    body = p.material(look.colour, gloss=0.3)
    load = p.material(look.second, look.texture, second=look.colour, scale=look.scale * 2, phase=look.phase)
    glass = p.material(GLASS, gloss=0.9)
    nose = length / 2
    p.block((0, 1.25, nose - 0.9), (2 * half, 1.7, 1.8), body, taper=(0.96, 0.8), shift=(0, -0.15))
    p.block((0, 1.68, nose - 0.35), (2 * half * 0.86, 0.62, 0.75), glass, taper=(1, 0.6), shift=(0, -0.2))
    p.block((0, 1.75, -0.95), (2 * half + 0.1, 2.3, length - 1.95), load)
    p.block((0, 0.5, -0.3), (2 * half * 0.8, 0.25, length * 0.9), p.material(RUBBER))
    _wheels(p, 0.42, half, (length * 0.32, -length * 0.3))
    _headlights(p, half, 0.75, nose, nose - 0.1)


def _body(p: Parts, look: Look, rng: Random, stride: float, hand: Vector | None) -> None:
    skin = p.material(rng.choice(SKINS))
    shirt = p.material(look.colour, look.texture, second=look.second, scale=look.scale * 0.35, phase=look.phase)
    trousers = p.material(jitter(rng, (0.07, 0.08, 0.12), 0.6))
    hair = p.material(jitter(rng, rng.choice(((0.03, 0.02, 0.015), (0.12, 0.06, 0.03), (0.3, 0.2, 0.08))), 0.3))
    for side in (-1, 1):
        p.rod((side * 0.1, 0.86, 0), (side * 0.11, 0.04, side * stride), 0.15, trousers)
        p.block((side * 0.11, 0.04, side * stride + 0.05), (0.11, 0.09, 0.26), p.material(RUBBER))
        if side == 1 and hand is not None:
            reach(p, (0.25, 1.38, 0.0), hand, shirt, skin)
            continue
        p.rod((side * 0.25, 1.38, 0), (side * 0.29, 0.92, -side * stride * 0.8), 0.10, shirt)
        p.ball((side * 0.29, 0.88, -side * stride * 0.8), (0.055, 0.075, 0.055), skin)
    p.block((0, 1.13, 0), (0.34, 0.6, 0.24), shirt, taper=(1.25, 0.95))
    p.tube((0, 1.46, 0), 0.06, 0.12, skin)
    p.ball((0, 1.60, 0.01), (0.10, 0.135, 0.115), skin)
    p.ball((0, 1.645, -0.02), (0.112, 0.115, 0.118), hair)


def reach(p: Parts, shoulder: Vector, hand: Vector, sleeve: int, skin: int) -> None:
    """A stretched arm: three quarters of sleeve, then a bare forearm and hand."""
    first = len(p.rows)
    cuff = tuple(a + 0.62 * (b - a) for a, b in zip(shoulder, hand, strict=True))
    p.rod(shoulder, cuff, 0.11, sleeve)  # type: ignore[arg-type]
    p.rod(cuff, hand, 0.085, skin)  # type: ignore[arg-type]
    p.ball(hand, (0.07, 0.07, 0.07), skin)
    p.evidence = (first, len(p.rows))


def person(p: Parts, look: Look, rng: Random, hand: Vector | None = None) -> None:
    """`hand` is where the right hand is (object frame); by default both arms hang."""
    _body(p, look, rng, rng.uniform(-0.25, 0.25), hand)


def cyclist(p: Parts, look: Look, rng: Random, hand: Vector | None = None) -> None:
    frame = p.material(look.second, gloss=0.4)
    rubber = p.material(RUBBER)
    for z in (-0.52, 0.52):
        p.tube((0, 0.34, z), 0.34, 0.05, rubber, axis="x")
        p.tube((0, 0.34, z), 0.28, 0.06, p.material((0.35, 0.35, 0.36)), axis="x")
    p.rod((0, 0.34, -0.52), (0, 0.85, -0.15), 0.05, frame)
    p.rod((0, 0.85, -0.15), (0, 0.9, 0.38), 0.05, frame)
    p.rod((0, 0.34, 0.52), (0, 1.02, 0.36), 0.05, frame)
    p.rod((0, 0.34, -0.05), (0, 0.9, 0.38), 0.05, frame)
    p.rod((-0.27, 1.05, 0.34), (0.27, 1.05, 0.34), 0.04, rubber)
    skin = p.material(rng.choice(SKINS))
    shirt = p.material(look.colour, look.texture, second=look.second, scale=look.scale * 0.35, phase=look.phase)
    trousers = p.material(jitter(rng, (0.07, 0.08, 0.12), 0.6))
    for side in (-1, 1):
        p.rod((side * 0.1, 0.95, -0.15), (side * 0.12, 0.62 + side * 0.1, 0.14), 0.14, trousers)
        p.rod((side * 0.12, 0.62 + side * 0.1, 0.14), (side * 0.11, 0.24 + side * 0.1, 0.0), 0.11, trousers)
        if side == 1 and hand is not None:
            reach(p, (0.2, 1.42, 0.12), hand, shirt, skin)
        else:
            p.rod((side * 0.2, 1.42, 0.12), (side * 0.24, 1.06, 0.34), 0.09, shirt)
    p.rod((0, 0.92, -0.17), (0, 1.48, 0.12), 0.33, shirt)
    p.ball((0, 1.68, 0.2), (0.10, 0.135, 0.115), skin)
    p.ball((0, 1.74, 0.18), (0.12, 0.1, 0.14), frame)
    p.lamp((0, 0.95, 0.55), (3.0, 3.0, 3.0), axis=(0.0, -0.1, 1.0), cosine=0.85)


def tree(p: Parts, look: Look, rng: Random) -> None:
    height = rng.uniform(4.0, 8.0)
    bark = p.material(jitter(rng, (0.12, 0.075, 0.045)), "noise", second=(0.05, 0.035, 0.025), scale=0.4)
    green = jitter(
        rng, rng.choice(((0.05, 0.16, 0.03), (0.09, 0.20, 0.04), (0.04, 0.12, 0.05), (0.30, 0.17, 0.03))), 0.25
    )
    leaves = p.material(
        shade(green, 1.7), "leaf", second=shade(green, 0.25), scale=rng.uniform(1.2, 2.2), phase=rng.random()
    )
    p.tube((0, height * 0.25, 0), rng.uniform(0.1, 0.2), height * 0.5, bark)
    spread = height * rng.uniform(0.2, 0.3)
    p.ball((0, height * 0.68, 0), (spread, height * 0.3, spread), leaves)
    for _ in range(3):
        where = (rng.uniform(-0.6, 0.6) * spread, height * rng.uniform(0.5, 0.85), rng.uniform(-0.6, 0.6) * spread)
        size = spread * rng.uniform(0.5, 0.75)
        p.ball(where, (size, size * 0.9, size), leaves)


def street_lamp(p: Parts, look: Look, rng: Random) -> None:
    height = rng.uniform(3.8, 6.0)
    metal = p.material(jitter(rng, (0.10, 0.11, 0.11), 0.4), gloss=0.3)
    tint = rng.choice(((1.0, 0.62, 0.25), (1.0, 0.82, 0.55), (0.85, 0.93, 1.0)))
    bulb = p.material((0.75, 0.72, 0.65), glow=40.0, glow_colour=tint)
    p.tube((0, height / 2, 0), 0.075, height, metal)
    p.tube((0, 0.2, 0), 0.13, 0.4, metal)
    power = rng.uniform(35, 70)
    light = (tint[0] * power, tint[1] * power, tint[2] * power)
    if rng.random() < 0.6:
        p.rod((0, height, 0), (0, height + 0.15, 1.3), 0.09, metal)
        p.block((0, height + 0.15, 1.4), (0.24, 0.12, 0.6), metal)
        p.block((0, height + 0.07, 1.4), (0.2, 0.05, 0.5), bulb)
        p.lamp((0, height - 0.1, 1.4), light, axis=(0.0, -1.0, 0.0), cosine=-0.1)
    else:
        p.ball((0, height + 0.2, 0), (0.24, 0.24, 0.24), bulb)
        p.lamp((0, height + 0.2, 0), light)


def sign(p: Parts, look: Look, rng: Random) -> None:
    height = rng.uniform(1.9, 2.6)
    p.tube((0, height / 2, 0), 0.04, height, p.material(STEEL))
    face = p.material(look.colour, "emblem", second=(0.8, 0.8, 0.78), scale=0.62, phase=0.0, gloss=0.2)
    form = rng.randrange(3)
    if form == 0:
        p.tube((0, height, 0.06), 0.36, 0.05, face, axis="z")
    elif form == 1:
        p.block((0, height, 0.06), (0.7, 0.62, 0.05), face, taper=(0.05, 1))
    else:
        p.block((0, height, 0.06), (rng.uniform(0.55, 0.9), 0.55, 0.05), face)


def dog(p: Parts, look: Look, rng: Random) -> None:
    coat = jitter(rng, rng.choice(((0.30, 0.17, 0.07), (0.05, 0.04, 0.035), (0.55, 0.48, 0.38), (0.18, 0.09, 0.05))))
    fur = p.material(coat, look.texture, second=shade(coat, 0.35), scale=0.3, phase=look.phase)
    dark = p.material(shade(coat, 0.4))
    p.ball((0, 0.42, 0), (0.15, 0.17, 0.36), fur)
    for side in (-1, 1):
        for z in (-0.24, 0.24):
            p.rod((side * 0.09, 0.38, z), (side * 0.09, 0.0, z + rng.uniform(-0.05, 0.05)), 0.075, fur)
        p.block((side * 0.075, 0.70, 0.36), (0.05, 0.14, 0.07), dark, taper=(0.4, 0.6))
    p.ball((0, 0.60, 0.38), (0.11, 0.12, 0.13), fur)
    p.ball((0, 0.56, 0.51), (0.055, 0.05, 0.08), dark)
    p.rod((0, 0.5, -0.32), (0, 0.72, -0.5), 0.05, fur)


def bench(p: Parts, look: Look, rng: Random) -> Top:
    wood = p.material(
        jitter(rng, (0.28, 0.15, 0.07)), "planks", second=(0.06, 0.035, 0.02), scale=0.5, phase=look.phase
    )
    iron = p.material((0.04, 0.04, 0.045))
    for side in (-1, 1):
        p.block((side * 0.7, 0.21, 0), (0.08, 0.42, 0.42), iron)
    p.block((0, 0.45, 0), (1.7, 0.06, 0.48), wood)
    p.block((0, 0.76, -0.24), (1.7, 0.36, 0.05), wood, pitch=-0.15)
    return Top(0.48, 0.75, 0.18)


def crate(p: Parts, look: Look, rng: Random) -> Top:
    surface = p.material(look.colour, look.texture, second=look.second, scale=look.scale * 0.5, phase=look.phase)
    width, height, depth = rng.uniform(0.5, 0.8), rng.uniform(0.45, 0.75), rng.uniform(0.5, 0.8)
    p.block((0, height / 2, 0), (width, height, depth), surface)
    p.block((0, height - 0.02, 0), (width + 0.04, 0.06, depth + 0.04), p.material(shade(look.colour, 0.6)))
    return Top(height + 0.01, width / 2, depth / 2)


BUILDERS = {
    "car": car, "bus": bus, "truck": truck, "person": person, "cyclist": cyclist, "tree": tree,
    "street lamp": street_lamp, "sign": sign, "dog": dog, "bench": bench, "box": crate,
}  # fmt: skip
"""Model name to builder; a "street lamp" is of kind "lamp"."""
