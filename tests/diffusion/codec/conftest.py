"""Corruptions that a picture meets in a network: noise, blur, a lower resolution, JPEG, 8 bits."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def _noise(sigma: float) -> Callable[[Tensor], Tensor]:
    def corrupt(picture: Tensor) -> Tensor:
        noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(7))
        return (picture + noise * sigma / 127.5).clamp(-1, 1)

    return corrupt


def _blur(picture: Tensor) -> Tensor:
    line = torch.exp(-(torch.arange(-3, 4, dtype=torch.float32) ** 2) / 2)
    kernel = (line[:, None] * line[None]) / line.sum() ** 2
    padded = F.pad(picture[None], (3, 3, 3, 3), mode="replicate")
    return F.conv2d(padded, kernel.expand(3, 1, 7, 7), groups=3)[0]


def _half(picture: Tensor) -> Tensor:
    size = picture.shape[1:]
    small = F.interpolate(picture[None], (size[0] // 2, size[1] // 2), mode="bilinear", antialias=True)
    return F.interpolate(small, tuple(size), mode="bilinear")[0]


def _bytes(picture: Tensor) -> Image.Image:
    plain = ((picture + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(plain.permute(1, 2, 0).numpy())


def _read(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32) / 127.5 - 1


def _jpg(picture: Tensor) -> Tensor:
    buffer = io.BytesIO()
    _bytes(picture).save(buffer, "JPEG", quality=75)
    return _read(Image.open(buffer))


CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "n16": _noise(16),
    "n32": _noise(32),
    "blur": _blur,
    "half": _half,
    "jpg": _jpg,
    "clean8": lambda picture: _read(_bytes(picture)),
}


@pytest.fixture
def corruptions() -> dict[str, Callable[[Tensor], Tensor]]:
    """Corruptions by the names that `Codec.tolerance` uses; n16 and n32 are Gaussian noise of 16 and 32 of 255."""
    return CORRUPTIONS
