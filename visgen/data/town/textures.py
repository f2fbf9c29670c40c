"""Procedural patterns: a number in [0, 1] for every surface coordinate, blended between two colours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

__all__ = ["PATTERNS", "cell_hash", "noise", "pattern_fade", "speckle"]

_SIDE = 256  # texels of the noise tile
Field = np.ndarray


@cache
def _tile(roughness: float) -> Field:
    """A tileable noise field (256 * 256,) float32 in [0, 1] whose amplitude falls as frequency ** -roughness."""
    rng = np.random.Generator(np.random.PCG64(7))
    spectrum = np.fft.rfft2(rng.standard_normal((_SIDE, _SIDE)))
    fy = np.fft.fftfreq(_SIDE)[:, None] * _SIDE
    fx = np.fft.rfftfreq(_SIDE)[None] * _SIDE
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1
    spectrum *= radius**-roughness * np.exp(-((radius / 90) ** 2))
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(_SIDE, _SIDE))
    return np.clip(0.5 + field / (5 * field.std()), 0, 1).astype(np.float32).ravel()


def noise(u: Field, v: Field, roughness: float = 1.0, period: float = 16.0) -> Field:
    """Smooth noise in [0, 1] at (u, v); `period` texels per unit of u and v; repeats after 256 texels."""
    tile = _tile(roughness)
    x, y = u * np.float32(period), v * np.float32(period)
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    i, j = x0.astype(np.intp), y0.astype(np.intp)
    i1, j1 = (i + 1) & 255, (j + 1) & 255
    i &= 255
    j &= 255
    j <<= 8
    j1 <<= 8
    top = tile[j + i]
    top += (tile[j + i1] - top) * fx
    low = tile[j1 + i]
    low += (tile[j1 + i1] - low) * fx
    low -= top
    low *= fy
    low += top
    return low


def speckle(u: Field, v: Field) -> Field:
    """Fine mottling in [0, 1] at (u, v), 7 cm grain, not interpolated."""
    i = (u * np.float32(14)).astype(np.intp)
    j = (v * np.float32(14)).astype(np.intp)
    i &= 255
    j &= 255
    j <<= 8
    j += i
    return np.take(_tile(1.0), j)


def cell_hash(i: Field, j: Field, salt: Field | int) -> Field:
    """A repeatable uniform number in [0, 1) for the integer cell (i, j); arrays of one shape."""
    h = i.astype(np.int64) * 73856093 ^ j.astype(np.int64) * 19349663 ^ np.asarray(salt, np.int64) * 83492791
    h = (h ^ h >> 13) * 1274126177 & 0x7FFFFFFF
    return ((h ^ h >> 16) & 0xFFFF).astype(np.float32) / np.float32(65536)


def _cut(x: Field) -> Field:
    return x - np.floor(x)


def _grid(u: Field, v: Field, width: float) -> Field:
    return ((_cut(u) < width) | (_cut(v) < width)).astype(np.float32)


def _bricks(u: Field, v: Field) -> Field:
    row = np.floor(v * 2.5)
    shifted = u + 0.5 * (row % 2)
    joint = (_cut(v * 2.5) < 0.14) | (_cut(shifted) < 0.06)
    shade = cell_hash(np.floor(shifted), row, 3) * np.float32(0.35)
    return np.where(joint, np.float32(1), shade)


def _planks(u: Field, v: Field) -> Field:
    board = np.floor(v * 2)
    grain = noise(u * np.float32(0.4) + board * np.float32(3.7), v * np.float32(4), 1.0)
    return np.where(_cut(v * 2) < 0.06, np.float32(1), grain * np.float32(0.7))


def _books(u: Field, v: Field) -> Field:
    shelf, book = np.floor(v), np.floor(u * 9)
    tall = 0.55 + 0.4 * cell_hash(book, shelf, 5)
    return np.where(_cut(v) < tall, 0.15 + 0.85 * cell_hash(book, shelf, 9), 0).astype(np.float32)


def _windows(u: Field, v: Field) -> Field:
    """Glass 1, wall 0; one storey and one window axis per unit."""
    a, b = _cut(u), _cut(v)
    return ((a > 0.22) & (a < 0.78) & (b > 0.28) & (b < 0.78)).astype(np.float32)


def _rings(u: Field, v: Field) -> Field:
    return (_cut(np.hypot(_cut(u * 0.5) - 0.5, _cut(v * 0.5) - 0.5) * 6) < 0.5).astype(np.float32)


def _cells(u: Field, v: Field) -> Field:
    a, b = _cut(u * 2 + 0.5 * (np.floor(v * 2) % 2)) - 0.5, _cut(v * 2) - 0.5
    return (a * a + b * b < 0.1).astype(np.float32)


PATTERNS: dict[str, Callable[[Field, Field], Field]] = {
    "noise": lambda u, v: noise(u, v, 1.0),
    "leaf": lambda u, v: np.clip(noise(u, v, 0.75, 40.0) * 2.4 - 0.7, 0, 1),
    "stripes": lambda u, v: (_cut(u) < 0.5).astype(np.float32),
    "bands": lambda u, v: (_cut(v) < 0.5).astype(np.float32),
    "checker": lambda u, v: ((np.floor(u) + np.floor(v)) % 2).astype(np.float32),
    "bricks": _bricks,
    "planks": _planks,
    "tiles": lambda u, v: _grid(u, v, 0.07),
    "windows": _windows,
    "books": _books,
    "painting": lambda u, v: np.clip(noise(u, v, 1.3, 24.0) * 3 - 1, 0, 1),
    "emblem": lambda u, v: (u * u + v * v < 0.16).astype(np.float32),
    "zigzag": lambda u, v: (_cut(v * 1.5 + np.abs(_cut(u) - 0.5) * 1.5) < 0.5).astype(np.float32),
    "rings": _rings,
    "cells": _cells,
}
"""Pattern name to a function of surface coordinates in periods; "plain" needs none."""

MEANS = {
    "noise": 0.5, "leaf": 0.5, "stripes": 0.5, "bands": 0.5, "checker": 0.5, "bricks": 0.33, "planks": 0.38,
    "tiles": 0.13, "windows": 0.28, "books": 0.4, "painting": 0.5, "emblem": 0.0, "zigzag": 0.5, "rings": 0.5,
    "cells": 0.31,
}  # fmt: skip
FINE = {
    "noise": 0.25,
    "leaf": 0.2,
    "bricks": 0.5,
    "planks": 0.4,
    "books": 0.12,
    "painting": 0.3,
    "tiles": 0.4,
    "rings": 0.35,
}


def pattern_fade(name: str, value: Field, footprint: Field) -> Field:
    """Fade a pattern to its mean where a pixel covers much of its finest detail; `footprint` in periods."""
    mean = np.float32(MEANS[name])
    keep = np.clip(1.6 - 1.6 * footprint / np.float32(FINE.get(name, 0.5)), 0, 1)
    return mean + (value - mean) * keep
