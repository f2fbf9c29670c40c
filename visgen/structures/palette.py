"""Colours that people with any colour vision can tell apart, and one colour scale for depth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["OKABE_ITO", "class_palette", "depth_colours", "ink_on", "rgb_to_lab", "simulate_vision"]

# Okabe and Ito 2002, "Color universal design": seven hues that stay apart under the common colour blindnesses. Their
# black is left out: it stands for "no label" here.
OKABE_ITO = (
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (204, 121, 167),
    (230, 159, 0),
    (0, 158, 115),
    (0, 114, 178),
)

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# table 1, full severity; they act on linear RGB.
VISIONS = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}

# "viridis" of van der Walt and Smith 2015 (CC0) at 17 even steps: lightness grows evenly, also without colour vision.
VIRIDIS = (
    (68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141), (44, 114, 142),
    (38, 130, 142), (33, 145, 140), (31, 160, 136), (40, 174, 128), (63, 188, 115), (94, 201, 98), (132, 212, 75),
    (173, 220, 48), (216, 226, 25), (253, 231, 37),
)  # fmt: skip


def simulate_vision(rgb: np.ndarray, vision: str) -> np.ndarray:
    """Give how colours look to an eye.

    Args:
        rgb: Colours (..., 3) in [0, 255], sRGB.
        vision: "normal", or without one kind of cone: "protan", "deutan", "tritan".
    Returns:
        (..., 3) linear RGB in [0, 1].
    """
    share = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    return (linear @ np.array(VISIONS[vision]).T).clip(0, 1)


def rgb_to_lab(linear: np.ndarray) -> np.ndarray:
    """Turn linear RGB (..., 3) in [0, 1] into CIELAB under D65; distances there are roughly seen differences."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack((116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])), axis=-1)


def class_palette(count: int) -> np.ndarray:
    """Give one colour per class.

    The first seven are Okabe and Ito's; each further one is the colour, of a grid, that lies farthest from all before
    it for the eye (normal, protan, deutan or tritan) that tells them apart worst. A shorter palette is the start of a
    longer one.

    Args:
        count: Number of classes, 0..255.
    Returns:
        (count, 3) uint8 RGB.
    """
    return _all_colours()[:count].copy()


@lru_cache(maxsize=1)
def _all_colours() -> np.ndarray:
    steps = np.linspace(16, 255, 16).round()
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = rgb_to_lab(simulate_vision(grid, "normal"))
    # dark colours vanish on a photograph, pale and grey ones read as "nothing drawn"
    seen = (lab[:, 0] > 42) & (lab[:, 0] < 92) & (np.hypot(lab[:, 1], lab[:, 2]) > 20)
    grid = np.concatenate((np.array(OKABE_ITO, dtype=np.float64), grid[seen]))
    eyes = np.stack([rgb_to_lab(simulate_vision(grid, vision)) for vision in VISIONS])  # (4, n, 3)
    nearest = np.full(len(grid), np.inf)
    chosen: list[int] = []
    for index in range(255):
        pick = index if index < len(OKABE_ITO) else int(nearest.argmax())
        chosen.append(pick)
        apart = np.sqrt(((eyes - eyes[:, pick : pick + 1]) ** 2).sum(axis=-1)).min(axis=0)  # the worst eye
        nearest = np.minimum(nearest, apart)
    return grid[chosen].astype(np.uint8)


def depth_colours(share: np.ndarray) -> np.ndarray:
    """Give colours (..., 3) uint8 for numbers (...) in [0, 1]: 0 dark violet, 1 bright yellow, evenly lighter."""
    table = np.array(VIRIDIS, dtype=np.float64)
    at = np.linspace(0, 1, len(table))
    return np.stack([np.interp(share, at, table[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def ink_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Give black or white, whichever reads better on `colour` (WCAG 2 contrast)."""
    luminance = float(simulate_vision(np.array(colour), "normal") @ np.array([0.2126, 0.7152, 0.0722]))
    return (0, 0, 0) if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else (255, 255, 255)
