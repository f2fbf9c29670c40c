"""The scene by day: sun and sky over a street, window and ceiling light in a room, then the camera."""

from __future__ import annotations

import math
from functools import lru_cache
from random import Random

import numpy as np

from .layout import World
from .surface import Pixels
from .textures import noise

__all__ = ["by_day", "develop", "ground_shadow"]


def by_day(world: World, pixels: Pixels, rng: Random, degrade: bool) -> np.ndarray:
    """Render the picture (H, W, 3) uint8."""
    light = _street(world, pixels, rng) if world.ground is not None else _room(world, pixels, rng)
    target = rng.uniform(0.16, 0.24) if degrade else 0.2
    return develop(light, pixels.size, rng, target, electrons=rng.uniform(1500, 6000), degrade=degrade)


def _street(world: World, pixels: Pixels, rng: Random) -> np.ndarray:
    sun = np.array([rng.uniform(-0.8, 0.8), rng.uniform(0.5, 1.2), rng.uniform(-0.8, 0.5)])
    sun = (sun / np.linalg.norm(sun)).astype(np.float32)
    cloudy = rng.random()
    strength = np.float32(3.2 * (1 - 0.85 * cloudy))
    warm = np.array([[1.0], [0.93], [0.82]], np.float32)
    blue = np.array([[0.72], [0.86], [1.12]], np.float32) * np.float32(0.75 + 0.4 * cloudy)
    normal = pixels.normal
    facing = np.maximum(sun @ normal, 0)
    shadow = ground_shadow(
        world, pixels, np.array([sun[0], sun[2]]) / -max(float(sun[1]), 0.35), 0.75 * (1 - 0.6 * cloudy)
    )
    ambient = np.float32(0.62) + np.float32(0.38) * normal[1]
    near_ground = np.float32(0.7) + np.float32(0.3) * np.clip(pixels.position[1] / np.float32(0.5), 0, 1)
    near_ground[pixels.level] = 1
    light = pixels.albedo * (
        warm * (strength * facing * shadow) + blue * (ambient * near_ground * (0.35 + 0.65 * shadow))
    )
    mirror = np.maximum(normal[1], 0.1) * pixels.gloss * np.float32(0.35)
    light += blue * mirror
    above = np.flatnonzero(pixels.sky)
    sky_light = _sky(world, pixels.position[:, above], rng, cloudy)
    haze = np.float32(rng.uniform(0.002, 0.012))
    veil = 1 - np.exp(-haze * pixels.depth)
    light += (np.array([[0.85], [0.92], [1.0]], np.float32) * np.float32(0.9) - light) * veil
    light[:, above] = sky_light
    return light


def _sky(world: World, position: np.ndarray, rng: Random, cloudy: float) -> np.ndarray:
    """Radiance (3, S) of the sky at points 200 m deep: a gradient with clouds on a flat layer."""
    rise = np.maximum(position[1] - np.float32(world.camera.position[1]), 0) / np.float32(200)
    zenith = np.array([[0.25], [0.5], [1.1]], np.float32) * np.float32(1 - 0.4 * cloudy)
    horizon = np.array([[1.05], [1.1], [1.15]], np.float32)
    blend = np.sqrt(np.clip(rise * 2.2, 0, 1))
    sky = horizon + (zenith - horizon) * blend
    layer = 1 / (rise + np.float32(0.12))
    cloud = noise(position[0] * np.float32(0.01) * layer + np.float32(rng.uniform(0, 9)), layer, 1.5, 14.0)
    cover = np.clip((cloud - np.float32(0.75 - 0.5 * cloudy)) * 3, 0, 1)
    return sky + (np.float32(1.25 - 0.3 * cloudy) - sky) * cover


def _room(world: World, pixels: Pixels, rng: Random) -> np.ndarray:
    normal, position = pixels.normal, pixels.position
    height = np.float32(world.planes[1, 3])
    side = rng.choice((-1, 1))
    beam = np.array([side * rng.uniform(0.5, 1.0), rng.uniform(0.2, 0.6), rng.uniform(-0.4, 0.6)])
    beam = (beam / np.linalg.norm(beam)).astype(np.float32)
    cool = np.array([[0.92], [0.98], [1.08]], np.float32)
    warm = np.array([[1.08], [1.0], [0.88]], np.float32)
    facing = np.float32(0.5) + np.float32(0.5) * (beam @ normal)
    lamp = np.array([rng.uniform(-0.5, 0.5), 0, rng.uniform(1, 3)], np.float32)[:, None]
    lamp[1] = height - np.float32(0.1)
    toward = lamp - position
    distance = np.einsum("kn,kn->n", toward, toward)
    glow = np.maximum(np.einsum("kn,kn->n", toward, normal), 0) / (np.sqrt(distance) * (np.float32(0.6) + distance))
    shadow = ground_shadow(world, pixels, np.array([-beam[0], -beam[2]]) * 0.3, 0.6)
    corner = np.ones_like(shadow)
    for plane in world.planes:
        away = np.float32(plane[3]) - plane[:3].astype(np.float32) @ position
        corner *= 1 - np.float32(0.32) * np.exp(-np.maximum(away, 0) * np.float32(3.0)) * (away > 0.02)
    near_ground = np.float32(0.72) + np.float32(0.28) * np.clip(position[1] / np.float32(0.3), 0, 1)
    near_ground[pixels.level] = 1
    power = np.float32(rng.uniform(0.0, 2.6))
    light = pixels.albedo * (cool * (facing * np.float32(0.85)) + warm * (power * glow) + np.float32(0.25))
    light *= shadow * corner * near_ground
    light += cool * (pixels.gloss * np.float32(0.12) * np.maximum(normal[1], 0.15))
    panes = np.flatnonzero(pixels.daylight)
    view = noise(position[0, panes] + position[2, panes], position[1, panes], 1.5)
    green = np.array([[0.55], [0.75], [0.45]], np.float32)
    light[:, panes] = cool * np.float32(1.35) + (green - np.float32(0.6)) * np.clip(view * 4 - 1.6, 0, 1)
    return light


def ground_shadow(world: World, pixels: Pixels, slant: np.ndarray, depth: float) -> np.ndarray:
    """Soft shadows on the ground (N,), 1 in the light: one blurred ellipse for each thing that stands on it.

    Args:
        slant: Where a shadow falls: metres along world x and z for each metre of height.
        depth: How dark a shadow is, 0..1.
    """
    height, width = pixels.size
    light = np.ones(height * width, np.float32)
    picture = light.reshape(height, width)
    x, z = pixels.position[0].reshape(height, width), pixels.position[2].reshape(height, width)
    sx, sz = float(slant[0]), float(slant[1])
    for thing in world.things:
        if thing.position[1] > 0.05 or thing.kind == "building":
            continue
        (lx, ly, lz), (hx, hy, hz) = thing.low.tolist(), thing.high.tolist()
        tall = min(hy - ly, 3.0)
        # Covariance of the footprint, stretched along the slant.
        xx = sx * sx * tall * tall / 12 + (hx - lx) ** 2 / 8 + 0.01
        zz = sz * sz * tall * tall / 12 + (hz - lz) ** 2 / 8 + 0.01
        xz = sx * sz * tall * tall / 12
        cx, cz = (lx + hx + sx * tall) / 2, (lz + hz + sz * tall) / 2
        rx, rz = 2.2 * math.sqrt(xx), 2.2 * math.sqrt(zz)
        seen = [world.camera.project_point(cx + i * rx, 0.0, cz + j * rz) for i in (-1, 1) for j in (-1, 1)]
        if min(s[2] for s in seen) < 0.2:
            if max(s[2] for s in seen) < 0.2:
                continue
            r0, r1, c0, c1 = 0, height, 0, width
        else:
            c0, c1 = max(0, int(min(s[0] for s in seen))), min(width, math.ceil(max(s[0] for s in seen)))
            r0, r1 = max(0, int(min(s[1] for s in seen))), min(height, math.ceil(max(s[1] for s in seen)))
        if r1 <= r0 or c1 <= c0:
            continue
        whole = xx * zz - xz * xz
        dx = x[r0:r1, c0:c1] - np.float32(cx)
        dz = z[r0:r1, c0:c1] - np.float32(cz)
        q = dx * (np.float32(zz / whole) * dx - np.float32(2 * xz / whole) * dz)
        dz *= dz
        dz *= np.float32(xx / whole)
        q += dz
        q *= np.float32(0.5)
        q *= q
        q += 1
        picture[r0:r1, c0:c1] *= 1 - np.float32(depth) / q
    light[~pixels.level] = 1
    return light


def _tone_curve() -> np.ndarray:
    """8-bit codes for 4096 linear levels in 0..1: a soft shoulder that ends at 1, then the sRGB curve."""
    level = np.linspace(0, 1, 4096)
    level = 1.25 * level / (1 + 0.25 * level)
    curve = np.where(level <= 0.0031308, level * 12.92, 1.055 * np.maximum(level, 1e-9) ** (1 / 2.4) - 0.055)
    return (curve * 255 + 0.5).astype(np.uint8)


_TONES = _tone_curve()


def develop(
    light: np.ndarray,
    size: tuple[int, int],
    rng: Random,
    target: float,
    electrons: float,
    degrade: bool,
    bloom: float = 0.0,
    ceiling: float = 3.0,
) -> np.ndarray:
    """Radiance (3, N) through lens, sensor and tone curve to a picture (H, W, 3) uint8.

    Args:
        target: Mean linear level that the exposure aims at.
        electrons: Full-well count; shot noise has variance signal / electrons.
        degrade: False leaves lens blur and noise out.
        bloom: Extra lens blur, as weight of each neighbour.
        ceiling: Radiance above this counts as this much when the exposure is metered.
    """
    height, width = size
    level = float(np.minimum(light, np.float32(ceiling)).mean())
    picture = (light * np.float32(target / max(level, 1e-4))).reshape(3, height, width)
    if degrade:
        picture = _blur(picture, np.float32(rng.uniform(0.08, 0.24) + bloom))
        signal = np.clip(picture.mean(axis=0), 0, 1)  # one noise level for the three channels of a pixel
        signal *= np.float32(1 / electrons)
        signal += np.float32((4.0 / electrons) ** 2)  # four electrons of read noise
        picture += np.sqrt(signal) * _grain(rng, picture.shape)
    picture *= np.float32(4095)
    np.clip(picture, 0, 4095, out=picture)
    return np.ascontiguousarray(np.take(_TONES, picture.astype(np.int16)).transpose(1, 2, 0))


def _blur(picture: np.ndarray, side: np.float32) -> np.ndarray:
    """Three-tap blur along both axes; `side` is the weight of each neighbour."""
    for axis in (1, 2):
        middle = picture * (1 - 2 * side)
        first = [slice(None)] * 3
        last = [slice(None)] * 3
        first[axis], last[axis] = slice(None, -1), slice(1, None)
        middle[tuple(last)] += side * picture[tuple(first)]
        middle[tuple(first)] += side * picture[tuple(last)]
        edge: list[slice | int] = [slice(None)] * 3
        for end in (0, -1):
            edge[axis] = end
            middle[tuple(edge)] += side * picture[tuple(edge)]
        picture = middle
    return picture


@lru_cache(maxsize=1)
def _normals() -> np.ndarray:
    """A bank of standard normal numbers, float32; drawing fresh ones would cost as much as the light."""
    return np.random.Generator(np.random.PCG64(11)).standard_normal(1 << 20, dtype=np.float32)


def _grain(rng: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise, float32: a stretch of the bank from a random place on."""
    bank = _normals()
    count = math.prod(shape)
    if count >= len(bank):
        return np.random.Generator(np.random.PCG64(rng.getrandbits(64))).standard_normal(shape, dtype=np.float32)
    start = rng.randrange(len(bank) - count)
    return bank[start : start + count].reshape(shape)
