"""The scene by night: lamps, headlights, lit windows and sky glow on the same surfaces, then a camera at high gain.

Radiance = albedo * (ambient + sum over lamps of intensity * cosine / distance^2 * beam) + emission. Which windows and
lamps burn, and how strong, is drawn with the seed and leaves no trace in the day picture, so night is no function of
it. Left out: shadows that lamps cast (things darken the ground below them only), and light reflected more than once.
"""

from __future__ import annotations

import math
from random import Random

import numpy as np

from .daylight import develop, ground_shadow
from .layout import World
from .parts import Light
from .surface import Pixels

__all__ = ["by_night"]

_FAINTEST = 0.008  # irradiance below which a lamp is not followed further


def by_night(world: World, pixels: Pixels, rng: Random, degrade: bool) -> np.ndarray:
    """Render the picture (H, W, 3) uint8."""
    street = world.ground is not None
    lights = list(world.parts.lights)
    lights += _own_headlights(world, rng) if street else _ceiling_lamps(world, lights, rng)
    contact = ground_shadow(world, pixels, np.zeros(2), 0.6)
    irradiance = _ambient(world, pixels, lights, rng)
    for light in lights:
        _shine(world, pixels, light, irradiance)
    assert pixels.glow is not None, "resolve(..., night=True) keeps it"
    radiance = pixels.albedo * irradiance * contact + pixels.glow
    if street:
        _sky_and_haze(world, pixels, rng, radiance)
    else:
        outside = np.array([0.010, 0.014, 0.028], np.float32)[:, None] * np.float32(rng.uniform(0.5, 2.0))
        radiance = np.where(pixels.daylight, outside, radiance)
    for light in lights:
        if light.visible:
            _glare(world, pixels, light, radiance, rng)
    # Auto-exposure falls short of a day picture, and the gain that it does use shows as noise.
    target = rng.uniform(0.045, 0.10) if street else rng.uniform(0.06, 0.15)
    return develop(
        radiance, pixels.size, rng, target if degrade else 0.08, rng.uniform(90, 500), degrade, bloom=0.04, ceiling=0.5
    )


def _own_headlights(world: World, rng: Random) -> list[Light]:
    """The beams of the car that carries the camera, when it stands on the road."""
    x, _, z = world.camera.position
    assert world.ground is not None
    if abs(x) > world.ground.road or rng.random() < 0.35:
        return []
    power = rng.uniform(40, 110)
    tint = (power, power * 0.95, power * 0.85)
    yaw = world.camera.yaw
    axis = (math.sin(yaw), -0.05, math.cos(yaw))
    sides = (math.cos(yaw), -math.sin(yaw))
    return [Light((x + s * 0.6 * sides[0], 0.65, z + s * 0.6 * sides[1]), tint, axis, 0.80, False) for s in (-1, 1)]


def _ceiling_lamps(world: World, lights: list[Light], rng: Random) -> list[Light]:
    """Ceiling lamps of a room; at least one burns when nothing else does."""
    if lights and rng.random() < 0.55:
        return []
    high = float(world.planes[1, 3])
    tint = rng.choice(((1.0, 0.80, 0.55), (1.0, 0.90, 0.75), (0.88, 0.95, 1.0)))
    power = rng.uniform(2.0, 6.0)
    left, right, front = -float(world.planes[2, 3]), float(world.planes[3, 3]), float(world.planes[5, 3])
    x, z = left + (right - left) * rng.uniform(0.3, 0.7), rng.uniform(0.5, max(0.6, front * 0.7))
    return [Light((x, high - 0.25, z), tuple(power * c for c in tint), None, -1.0, True)]  # type: ignore[arg-type]


def _ambient(world: World, pixels: Pixels, lights: list[Light], rng: Random) -> np.ndarray:
    """Sky glow outdoors, first bounce of all lamps indoors (3, N)."""
    up = np.float32(0.6) + np.float32(0.4) * pixels.normal[1]
    if world.ground is not None:
        glow = np.array([0.6, 0.75, 1.3], np.float32) * np.float32(rng.uniform(0.012, 0.05))
        glow += np.array([1.0, 0.6, 0.3], np.float32) * np.float32(rng.uniform(0.0, 0.02))
        return glow[:, None] * up
    room = np.ptp(world.planes[2:, 3]) + 10.0
    bounce = sum((np.array(light.intensity) for light in lights), np.zeros(3)) / room * 0.35 + 0.004
    return bounce.astype(np.float32)[:, None] * (np.float32(1.3) - np.float32(0.3) * up)


def _window(world: World, centre: tuple[float, float, float], reach: float) -> tuple[slice, slice] | None:
    """Rows and columns that a ball of radius `reach` can cover; None when it is out of sight."""
    height, width = world.camera.size
    column, row, depth = world.camera.project_point(*centre)
    if depth + reach < 0.1:
        return None
    if depth - reach < 0.3:
        return slice(0, height), slice(0, width)
    radius = world.camera.focal * reach / (depth - reach)
    r0, r1 = max(0, math.floor(row - radius)), min(height, math.ceil(row + radius))
    c0, c1 = max(0, math.floor(column - radius)), min(width, math.ceil(column + radius))
    return (slice(r0, r1), slice(c0, c1)) if r1 > r0 and c1 > c0 else None


def _shine(world: World, pixels: Pixels, light: Light, irradiance: np.ndarray) -> None:
    """Add one lamp's irradiance."""
    reach = math.sqrt(max(light.intensity) / _FAINTEST)
    seen = _window(world, light.position, min(reach, 45.0))
    if seen is None:
        return
    rows, columns = seen
    shape = (3, *pixels.size)
    position = pixels.position.reshape(shape)[:, rows, columns]
    normal = pixels.normal.reshape(shape)[:, rows, columns]
    tx, ty, tz = (np.float32(light.position[k]) - position[k] for k in range(3))
    square = tx * tx + ty * ty + tz * tz
    near = 1 / np.sqrt(square + np.float32(0.02))
    cosine = (tx * normal[0] + ty * normal[1] + tz * normal[2]) * near
    np.maximum(cosine, 0, out=cosine)
    strength = cosine * near * near
    if light.axis is not None:
        along = (
            -(tx * np.float32(light.axis[0]) + ty * np.float32(light.axis[1]) + tz * np.float32(light.axis[2])) * near
        )
        edge = np.clip((along - np.float32(light.cosine)) / np.float32((1 - light.cosine) * 0.8), 0, 1)
        strength *= edge * edge
    target = irradiance.reshape(shape)[:, rows, columns]
    for channel in range(3):
        target[channel] += strength * np.float32(light.intensity[channel])


def _glare(world: World, pixels: Pixels, light: Light, radiance: np.ndarray, rng: Random) -> None:
    """Scatter in the lens around a lamp that the camera sees directly."""
    height, width = pixels.size
    column, row, depth = world.camera.project_point(*light.position)
    power = rng.uniform(0.5, 1.5)
    if depth < 0.3 or not (0 <= column < width and 0 <= row < height):
        return
    if pixels.depth.reshape(height, width)[int(row), int(column)] < depth - 0.6:
        return  # hidden
    toward = np.array(world.camera.position) - np.array(light.position)
    square = float(toward @ toward)
    if light.axis is not None:
        along = float(toward @ np.array(light.axis)) / math.sqrt(square)
        power *= min(1.0, max(0.0, (along - light.cosine) / (1 - light.cosine))) + 0.04
    core = max(1.2, world.camera.focal * 0.12 / depth)
    reach = int(min(width, 14 * core + 10))
    r0, r1, c0, c1 = (
        max(0, int(row) - reach),
        min(height, int(row) + reach),
        max(0, int(column) - reach),
        min(width, int(column) + reach),
    )
    dy = (np.arange(r0, r1, dtype=np.float32) - np.float32(row))[:, None]
    dx = np.arange(c0, c1, dtype=np.float32) - np.float32(column)
    spread = 1 / (1 + (dx * dx + dy * dy) / np.float32(core * core)) ** np.float32(1.5)
    spread = np.maximum(spread - np.float32(1 / (1 + (reach / core) ** 2) ** 1.5), 0)
    scale = 0.7 * power * min(1.0, max(light.intensity) / 20 + 0.2)
    peak = max(light.intensity)
    target = radiance.reshape(3, height, width)[:, r0:r1, c0:c1]
    for channel in range(3):
        target[channel] += spread * np.float32(scale * light.intensity[channel] / peak)


def _sky_and_haze(world: World, pixels: Pixels, rng: Random, radiance: np.ndarray) -> None:
    """A dark sky with the town's glow above the horizon, and a thin veil over distant things."""
    rise = np.clip((pixels.position[1] - np.float32(world.camera.position[1])) / np.float32(100), 0, 1)
    town = np.array([0.030, 0.021, 0.015], np.float32)[:, None] * np.float32(rng.uniform(0.3, 2.0))
    above = np.array([0.004, 0.006, 0.014], np.float32)[:, None] * np.float32(rng.uniform(0.5, 2.0))
    sky = above + town * (1 - rise) ** 2
    veil = 1 - np.exp(-np.float32(rng.uniform(0.001, 0.008)) * pixels.depth)
    radiance += (town * np.float32(0.8) - radiance) * veil
    np.copyto(radiance, sky, where=pixels.sky)
