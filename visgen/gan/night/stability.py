"""Does a translation stay where its picture is, and does it say in the open what it says?"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import DataError
from .losses import edge_consistency

__all__ = ["disturbed", "hidden_edges", "phase_shift", "shift_difference"]


def phase_shift(a: Tensor, b: Tensor) -> tuple[float, float]:
    """How far `b` lies down and right of `a`, in pixels, by the peak of their phase correlation.

    Args:
        a, b: (H, W) of one size.
    Returns:
        (down, right), refined between pixels by the centre of mass around the peak; (0, 0) where one is constant.
    Source: Kuglin and Hines 1975.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise DataError(f"maps are {tuple(a.shape)} and {tuple(b.shape)}; give two (H, W) of one size.")
    first, second = (torch.fft.fft2(x.double() - x.double().mean()) for x in (a, b))
    product = first.conj() * second
    strength = product.abs()
    if float(strength.max()) == 0:
        return 0.0, 0.0
    # frequencies that neither map holds say nothing about a shift: they are damped instead of blown up to one
    surface = torch.fft.ifft2(product / (strength + 0.1 * strength.mean())).real
    height, width = surface.shape
    top, left = divmod(int(surface.argmax()), width)
    rows = (torch.arange(-1, 2) + top) % height
    columns = (torch.arange(-1, 2) + left) % width
    weights = surface[rows][:, columns].clamp(min=0)
    offset = torch.arange(-1.0, 2.0, dtype=weights.dtype)
    down = top + float((weights.sum(1) * offset).sum() / weights.sum())
    right = left + float((weights.sum(0) * offset).sum() / weights.sum())
    return (down + height / 2) % height - height / 2, (right + width / 2) % width - width / 2


def shift_difference(
    generator: Callable[[Tensor], Tensor], image: Tensor, shift: tuple[int, int] = (4, 4), border: int = 16
) -> float:
    """Mean absolute difference between the translation of a shifted picture and the shifted translation.

    The picture is shifted by cutting off its top and left, so that nothing is made up; `border` pixels along all
    sides of what both show are left out.

    Args:
        generator: Images (B, 3, H, W) in [0, 1] to the same.
        image: (3, H, W) in [0, 1].
        shift: Pixels cut off above and left.
    """
    down, right = shift
    if min(image.shape[1] - down, image.shape[2] - right) <= 2 * border:
        raise DataError(f"an image {tuple(image.shape)} leaves nothing inside a border of {border}; give a larger one.")
    before = generator(image[None])[0, :, down:, right:]
    after = generator(image[None, :, down:, right:])[0]
    inside = (..., slice(border, -border), slice(border, -border))
    return float((before[inside] - after[inside]).abs().mean())


def disturbed(image: Tensor, generator: torch.Generator, noise: float = 2 / 255, quality: int = 75) -> Tensor:
    """The picture (3, H, W) in [0, 1] after Gaussian noise and JPEG: what faint messages do not survive."""
    noisy = image + noise * torch.randn(image.shape, generator=generator)
    pixels = (noisy * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1).float() / 255


@torch.no_grad()
def hidden_edges(
    by_day: Callable[[Tensor], Tensor],
    by_night: Callable[[Tensor], Tensor],
    day: Tensor,
    night: Tensor,
    seed: int = 0,
) -> tuple[float, float]:
    """The edge loss of a translation as it is and after it was disturbed; a large rise means edges hidden as noise.

    Args:
        by_day, by_night: Edge logits of images (B, 3, H, W): teacher and student.
        day, night: (3, H, W) in [0, 1] each.
        seed: Of the noise.
    """
    wanted = by_day(day[None])
    worse = disturbed(night, torch.Generator().manual_seed(seed))
    before, after = (edge_consistency(wanted, by_night(image[None])) for image in (night, worse))
    return float(before), float(after)
