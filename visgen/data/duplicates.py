"""Find equal and nearly equal images: exact digests of the pixels, and a difference hash with Hamming distances."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

__all__ = ["NEAR_BITS", "difference_hash", "near_pairs", "pixel_digest"]

_SIDE = 16
NEAR_BITS = 14
"""Two images whose 256-bit hashes differ in at most so many bits count as near duplicates."""
_FLAT = 4.0  # grey levels: below this spread a hash tells nothing


def pixel_digest(pixels: Tensor) -> bytes:
    """Digest the shape and the bytes of an image (3, H, W) uint8, or a stack of them: equal digests, equal images."""
    state = hashlib.blake2b(repr(tuple(pixels.shape)).encode(), digest_size=16)
    state.update(np.ascontiguousarray(pixels.numpy()).tobytes())
    return state.digest()


def difference_hash(pixels: Tensor) -> np.ndarray | None:
    """Tell for each of 16 x 16 cells whether it is darker than its right neighbour.

    Args:
        pixels: (3, H, W) uint8.
    Returns:
        (4,) uint64, 256 bits; None for a nearly flat image, whose hash would be noise.
    Source: the "dHash" of N. Krawetz (hackerfactor.com, 2013), with 16 cells a side instead of 8.
    """
    grey = pixels.float().mean(0)
    if grey.numel() == 1 or float(grey.std()) < _FLAT:
        return None
    small = torch.nn.functional.interpolate(grey[None, None], (_SIDE, _SIDE + 1), mode="bilinear", antialias=True)[0, 0]
    bits = (small[:, :-1] < small[:, 1:]).numpy().reshape(-1)
    return np.packbits(bits).view(np.uint64)


def near_pairs(left: np.ndarray, right: np.ndarray, most: int = NEAR_BITS) -> list[tuple[int, int, int]]:
    """Give (i, j, differing bits) for the nearest hash j of each hash i, where it differs in at most `most` bits.

    Args:
        left: (N, 4) uint64.
        right: (M, 4) uint64.
        most: Largest number of differing bits, 0..256.
    """
    found: list[tuple[int, int, int]] = []
    if len(left) == 0 or len(right) == 0:
        return found
    rows = max(1, 4_000_000 // len(right))
    for start in range(0, len(left), rows):
        block = left[start : start + rows]
        distance = np.zeros((len(block), len(right)), np.uint16)
        for word in range(left.shape[1]):  # word by word: a sum over a short last axis is several times slower
            distance += np.bitwise_count(block[:, word, None] ^ right[None, :, word])
        nearest = distance.argmin(1)
        for i in np.flatnonzero(distance[np.arange(len(block)), nearest] <= most).tolist():
            j = int(nearest[i])
            found.append((start + i, j, int(distance[i, j])))
    return found
