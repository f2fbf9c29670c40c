"""Objects of the room, and the unseen kinds. Wall furniture has its back at negative z, its front towards +z."""

from __future__ import annotations

from random import Random

from .parts import Parts
from .things import Look, Top, jitter, shade

__all__ = ["BUILDERS", "UNSEEN_BUILDERS"]

WOODS = ((0.30, 0.17, 0.08), (0.16, 0.08, 0.04), (0.45, 0.32, 0.18), (0.60, 0.55, 0.48))
METAL = (0.35, 0.36, 0.37)


def _cover(p: Parts, look: Look, scale: float = 1.0) -> int:
    return p.material(look.colour, look.texture, second=look.second, scale=look.scale * scale, phase=look.phase)


def _wood(p: Parts, rng: Random) -> int:
    tone = jitter(rng, rng.choice(WOODS), 0.25)
    return p.material(tone, "planks", second=shade(tone, 0.5), scale=0.6, phase=rng.random())


def table(p: Parts, look: Look, rng: Random) -> Top:
    height, width, depth = rng.uniform(0.68, 0.78), rng.uniform(0.9, 1.7), rng.uniform(0.6, 0.9)
    top = _cover(p, look, 0.5) if rng.random() < 0.4 else _wood(p, rng)
    leg = _wood(p, rng)
    p.block((0, height - 0.02, 0), (width, 0.045, depth), top)
    for x in (-1, 1):
        for z in (-1, 1):
            p.block(
                (x * (width / 2 - 0.06), height / 2 - 0.02, z * (depth / 2 - 0.06)), (0.055, height - 0.04, 0.055), leg
            )
    return Top(height + 0.003, width / 2, depth / 2)


def chair(p: Parts, look: Look, rng: Random) -> Top:
    seat = rng.uniform(0.42, 0.48)
    cover, leg = _cover(p, look, 0.35), _wood(p, rng)
    p.block((0, seat, 0), (0.44, 0.05, 0.44), cover)
    for x in (-0.19, 0.19):
        p.block((x, seat / 2, 0.19), (0.04, seat, 0.04), leg)
        p.block((x, 0.46, -0.19), (0.04, 0.92, 0.04), leg)
    p.block((0, seat + 0.34, -0.2), (0.42, rng.uniform(0.2, 0.34), 0.035), cover)
    return Top(seat + 0.025, 0.2, 0.18)


def shelf(p: Parts, look: Look, rng: Random) -> Top:
    height, width, depth = rng.uniform(0.9, 2.0), rng.uniform(0.7, 1.2), 0.32
    wood = _wood(p, rng)
    levels = max(2, round(height / 0.38))
    step = height / levels
    books = p.material(look.colour, "books", second=jitter(rng, (0.5, 0.4, 0.25), 0.6), scale=step, phase=0.0)
    p.block((0, height / 2, -depth / 2 + 0.01), (width, height, 0.02), wood)
    p.block((0, height / 2, -0.01), (width - 0.06, height - 0.06, depth - 0.10), books)
    for side in (-1, 1):
        p.block((side * (width / 2 - 0.015), height / 2, 0), (0.03, height, depth), wood)
    for level in range(levels + 1):
        p.block((0, level * step, 0), (width, 0.03, depth), wood)
    return Top(height + 0.015, width / 2, depth / 2)


def cabinet(p: Parts, look: Look, rng: Random) -> Top:
    width, height, depth = rng.uniform(0.9, 2.2), rng.uniform(0.84, 0.92), 0.6
    front = _cover(p, look, 0.6)
    knob = p.material(METAL, gloss=0.5)
    stone = p.material(
        jitter(rng, rng.choice(((0.4, 0.38, 0.35), (0.06, 0.06, 0.065), (0.3, 0.18, 0.1)))),
        "noise",
        second=(0.2, 0.2, 0.2),
        scale=0.2,
    )
    p.block((0, height / 2, 0), (width, height - 0.08, depth - 0.05), front)
    p.block((0, height, 0), (width + 0.02, 0.04, depth + 0.02), stone)
    doors = max(2, round(width / 0.5))
    seam = p.material(shade(look.colour, 0.3))
    for i in range(doors):
        x = -width / 2 + (i + 0.5) * width / doors
        p.block((x + 0.18 * width / doors, height * 0.72, depth / 2 - 0.01), (0.12, 0.02, 0.03), knob)
        p.block((x + 0.5 * width / doors, height / 2, depth / 2 - 0.025), (0.012, height - 0.1, 0.012), seam)
    if rng.random() < 0.6:
        p.block((0, 1.75, -0.14), (width, 0.65, 0.33), front)
        for i in range(1, doors):
            p.block((-width / 2 + i * width / doors, 1.75, 0.025), (0.012, 0.64, 0.012), seam)
    return Top(height + 0.02, width / 2, depth / 2)


def sofa(p: Parts, look: Look, rng: Random) -> Top:
    width = rng.uniform(1.5, 2.2)
    cloth = _cover(p, look, 0.5)
    dark = p.material(shade(look.colour, 0.75))
    p.block((0, 0.22, 0), (width, 0.32, 0.85), dark)
    for side in (-1, 1):
        p.block((side * width / 4, 0.43, 0.05), (width / 2 - 0.12, 0.14, 0.7), cloth, taper=(0.97, 0.95))
        p.block((side * (width / 2 - 0.08), 0.35, 0), (0.16, 0.56, 0.85), cloth, taper=(0.9, 0.98))
    p.block((0, 0.6, -0.34), (width, 0.5, 0.2), cloth, taper=(0.98, 0.7), shift=(0, -0.03))
    return Top(0.505, width / 2 - 0.2, 0.28)


def bed(p: Parts, look: Look, rng: Random) -> Top:
    width = rng.choice((0.95, 1.4, 1.6))
    wood, cloth = _wood(p, rng), _cover(p, look, 0.6)
    linen = p.material(jitter(rng, (0.72, 0.71, 0.68), 0.1))
    p.block((0, 0.17, 0), (width, 0.24, 2.0), wood)
    p.block((0, 0.36, 0), (width - 0.04, 0.18, 1.95), linen)
    p.block((0, 0.41, 0.28), (width + 0.02, 0.14, 1.42), cloth, taper=(0.97, 0.98))
    p.block((0, 0.5, -0.99), (width, 1.0, 0.05), wood)
    for x in (-0.24, 0.24) if width > 1.2 else (0.0,):
        p.ball((x * width, 0.48, -0.72), (0.27, 0.08, 0.19), linen)
    return Top(0.48, width / 2 - 0.1, 0.6)


def tv(p: Parts, look: Look, rng: Random) -> None:
    width = rng.uniform(0.7, 1.1)
    height = width * 0.58
    black = p.material((0.015, 0.015, 0.017), gloss=0.4)
    screen = p.material((0.02, 0.022, 0.028), "painting", second=jitter(rng, (0.03, 0.04, 0.07)), scale=0.9,
                        phase=rng.random(), gloss=0.8, glow=rng.choice((0.0, 1.6)),
                        glow_colour=(0.55, 0.7, 1.0))  # fmt: skip
    p.block((0, 0.08 + height / 2, 0), (width, height, 0.05), black)
    p.block((0, 0.08 + height / 2, 0.026), (width - 0.05, height - 0.05, 0.01), screen)
    p.block((0, 0.04, 0), (0.1, 0.08, 0.05), black)
    p.block((0, 0.01, 0), (width * 0.5, 0.02, 0.2), black)


def picture(p: Parts, look: Look, rng: Random) -> None:
    """Hangs with its back at z = 0 and its middle at the origin."""
    width, height = rng.uniform(0.4, 0.9), rng.uniform(0.35, 0.7)
    p.block((0, 0, 0.02), (width, height, 0.04), _wood(p, rng))
    canvas = p.material(look.colour, "painting", second=look.second, scale=1.2, phase=rng.random())
    p.block((0, 0, 0.03), (width - 0.08, height - 0.08, 0.03), canvas)


def bottle(p: Parts, look: Look, rng: Random) -> None:
    glass = p.material(look.colour, gloss=0.8)
    r, body = rng.uniform(0.035, 0.05), rng.uniform(0.16, 0.24)
    p.tube((0, body / 2, 0), r, body, glass)
    p.ball((0, body, 0), (r, 0.05, r), glass)
    p.tube((0, body + 0.07, 0), r * 0.38, 0.12, glass)
    p.tube((0, body + 0.135, 0), r * 0.45, 0.03, p.material(shade(look.second, 0.8)))
    p.tube(
        (0, body * 0.5, 0), r * 1.03, body * 0.45, p.material(look.second, look.texture, second=look.colour, scale=0.1)
    )


def plant(p: Parts, look: Look, rng: Random) -> None:
    pot, height = _cover(p, look, 0.2), rng.uniform(0.3, 0.6)
    green = jitter(rng, (0.05, 0.19, 0.05), 0.3)
    leaf = p.material(shade(green, 1.6), "leaf", second=shade(green, 0.25), scale=0.45, phase=rng.random())
    p.block((0, 0.11, 0), (0.17, 0.22, 0.17), pot, taper=(1.35, 1.35))
    p.ball((0, 0.22 + height * 0.5, 0), (height * 0.32, height * 0.5, height * 0.32), leaf)
    for _ in range(3):
        x, z = rng.uniform(-0.16, 0.16), rng.uniform(-0.16, 0.16)
        size = height * rng.uniform(0.18, 0.3)
        p.ball((x, 0.24 + height * rng.uniform(0.2, 0.9), z), (size, size, size), leaf)


def ball(p: Parts, look: Look, rng: Random) -> None:
    r = rng.uniform(0.11, 0.18)
    p.ball((0, r, 0), (r, r, r), _cover(p, look, 0.3))


def hat(p: Parts, look: Look, rng: Random) -> None:
    felt = _cover(p, look, 0.2)
    p.tube((0, 0.012, 0), 0.19, 0.024, felt)
    p.tube((0, 0.07, 0), 0.115, 0.13, felt)
    p.tube((0, 0.04, 0), 0.12, 0.035, p.material(look.second))


def bag(p: Parts, look: Look, rng: Random) -> None:
    cloth, strap = _cover(p, look, 0.25), p.material(shade(look.colour, 0.4))
    p.block((0, 0.16, 0), (0.34, 0.32, 0.16), cloth, taper=(0.8, 0.7))
    p.block((0, 0.12, 0.08), (0.22, 0.14, 0.05), cloth)
    for x in (-0.08, 0.08):
        p.rod((x, 0.31, 0), (x * 0.6, 0.43, 0), 0.03, strap)
    p.rod((-0.05, 0.43, 0), (0.05, 0.43, 0), 0.03, strap)


def table_lamp(p: Parts, look: Look, rng: Random) -> None:
    stand, height = p.material(METAL, gloss=0.4), rng.uniform(0.3, 0.45)
    on = rng.random() < 0.7
    cloth = p.material(
        look.colour,
        look.texture,
        second=look.second,
        scale=0.12,
        glow=3.0 if on else 0.0,
        glow_colour=(1.0, 0.75, 0.45),
    )
    p.tube((0, 0.015, 0), 0.09, 0.03, stand)
    p.tube((0, height / 2, 0), 0.015, height, stand)
    p.block((0, height + 0.06, 0), (0.28, 0.2, 0.28), cloth, taper=(0.65, 0.65))
    if on:
        p.lamp((0, height + 0.28, 0), (1.5, 1.15, 0.7), visible=False)
        p.lamp((0, height - 0.1, 0), (0.9, 0.7, 0.42), visible=False)


def floor_lamp(p: Parts, look: Look, rng: Random) -> None:
    stand, height = p.material(METAL, gloss=0.4), rng.uniform(1.25, 1.6)
    on = rng.random() < 0.7
    cloth = p.material(
        look.colour, look.texture, second=look.second, scale=0.2, glow=3.0 if on else 0.0, glow_colour=(1.0, 0.75, 0.45)
    )
    p.tube((0, 0.015, 0), 0.15, 0.03, stand)
    p.tube((0, height / 2, 0), 0.018, height, stand)
    p.block((0, height + 0.08, 0), (0.42, 0.3, 0.42), cloth, taper=(0.7, 0.7))
    if on:
        p.lamp((0, height + 0.35, 0), (2.4, 1.8, 1.1), visible=False)
        p.lamp((0, height - 0.15, 0), (1.6, 1.2, 0.75), visible=False)


def small_box(p: Parts, look: Look, rng: Random) -> None:
    w, h, d = rng.uniform(0.16, 0.34), rng.uniform(0.1, 0.28), rng.uniform(0.16, 0.3)
    p.block((0, h / 2, 0), (w, h, d), _cover(p, look, 0.25))
    p.block((0, h / 2, 0), (w * 0.16, h + 0.01, d + 0.01), p.material(shade(look.second, 0.8)))


def snowman(p: Parts, look: Look, rng: Random) -> None:
    snow, coal = p.material(shade(look.colour, 1.5)), p.material((0.02, 0.02, 0.02))
    for y, r in ((0.4, 0.42), (1.02, 0.31), (1.48, 0.22)):
        p.ball((0, y, 0), (r, r, r), snow)
    p.block((0, 1.48, 0.3), (0.07, 0.07, 0.26), p.material((0.75, 0.25, 0.03)))
    for x in (-0.08, 0.08):
        p.ball((x, 1.56, 0.19), (0.035, 0.035, 0.035), coal)
        p.rod((x * 3.5, 1.08, 0), (x * 9, 1.4, 0), 0.04, p.material((0.12, 0.06, 0.03)))


def rocket(p: Parts, look: Look, rng: Random) -> None:
    hull, fin = p.material(look.colour, "bands", second=look.second, scale=0.7), p.material(look.second)
    p.tube((0, 0.95, 0), 0.26, 1.3, hull)
    p.ball((0, 1.6, 0), (0.26, 0.55, 0.26), fin)
    for angle in ((0.34, 0.0), (-0.34, 0.0), (0.0, 0.34), (0.0, -0.34)):
        p.block((angle[0], 0.35, angle[1]), (0.06 + abs(angle[0]), 0.7, 0.06 + abs(angle[1])), fin, taper=(0.3, 0.3))


def mushroom(p: Parts, look: Look, rng: Random) -> None:
    p.tube((0, 0.4, 0), 0.16, 0.8, p.material((0.7, 0.66, 0.55)))
    p.ball((0, 0.85, 0), (0.55, 0.32, 0.55), p.material(look.colour, "cells", second=(0.8, 0.8, 0.78), scale=0.5))


def cactus(p: Parts, look: Look, rng: Random) -> None:
    flesh = p.material((0.08, 0.26, 0.08), "stripes", second=(0.16, 0.38, 0.14), scale=0.09)
    p.ball((0, 0.8, 0), (0.2, 0.85, 0.2), flesh)
    for side, y in ((1, 0.75), (-1, 0.95)):
        p.rod((side * 0.1, y, 0), (side * 0.45, y, 0), 0.17, flesh)
        p.ball((side * 0.45, y + 0.2, 0), (0.1, 0.32, 0.1), flesh)
    p.ball((0, 1.66, 0), (0.08, 0.06, 0.08), p.material((0.75, 0.2, 0.4)))


BUILDERS = {
    "table": table, "chair": chair, "shelf": shelf, "cabinet": cabinet, "sofa": sofa, "bed": bed, "tv": tv,
    "picture": picture, "bottle": bottle, "plant": plant, "ball": ball, "hat": hat, "bag": bag,
    "table lamp": table_lamp, "floor lamp": floor_lamp, "small box": small_box,
}  # fmt: skip
"""Model name to builder; both lamps are of kind "lamp" and a "small box" of kind "box"."""
UNSEEN_BUILDERS = {"snowman": snowman, "rocket": rocket, "mushroom": mushroom, "cactus": cactus}
