"""Small vocabulary for building objects: named paints, and the look that one object gets."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .parts import Vector

__all__ = ["PAINTS", "SKINS", "Look", "Top", "jitter", "shade"]

PAINTS: dict[str, Vector] = {
    "red": (0.55, 0.04, 0.04), "orange": (0.75, 0.25, 0.03), "yellow": (0.75, 0.58, 0.06), "green": (0.06, 0.33, 0.09),
    "blue": (0.04, 0.13, 0.50), "purple": (0.25, 0.06, 0.38), "pink": (0.75, 0.28, 0.42), "white": (0.78, 0.78, 0.76),
    "grey": (0.25, 0.26, 0.27), "black": (0.03, 0.03, 0.035), "brown": (0.22, 0.10, 0.045), "cyan": (0.07, 0.45, 0.50),
}  # fmt: skip
"""Paint name to linear RGB albedo."""
SKINS: tuple[Vector, ...] = ((0.60, 0.36, 0.25), (0.45, 0.24, 0.15), (0.28, 0.14, 0.08), (0.14, 0.07, 0.045))


@dataclass(frozen=True)
class Look:
    """What one object wears: a paint by name and exact colour, and a pattern in a second colour."""

    paint: str
    colour: Vector
    texture: str
    second: Vector
    scale: float
    phase: float


@dataclass(frozen=True)
class Top:
    """A level surface that carries things: its height, and its half extents along x and z of the object frame."""

    height: float
    half_x: float
    half_z: float


def jitter(rng: Random, colour: Vector, amount: float = 0.18) -> Vector:
    """A colour near `colour`: brightness and channels vary by up to `amount`."""
    level = 1 + rng.uniform(-amount, amount)
    return tuple(min(0.9, c * level * (1 + rng.uniform(-amount, amount) / 2)) for c in colour)  # type: ignore[return-value]


def shade(colour: Vector, factor: float) -> Vector:
    """A darker (factor < 1) or lighter tone."""
    return (min(0.9, colour[0] * factor), min(0.9, colour[1] * factor), min(0.9, colour[2] * factor))
