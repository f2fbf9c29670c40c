"""Differentiable augmentation: colours, a shift and a hole, on reals and fakes alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ConfigError, nearest
from .protocol import AUGMENTS, AugmentPipe

__all__ = ["DiffAugment", "cut_out", "jitter_colour", "translate"]


def jitter_colour(x: Tensor, rng: torch.Generator) -> Tensor:
    """Shift brightness by +-0.5, scale saturation by 0..2 and contrast by 0.5..1.5, each drawn per image.

    Args:
        x: (B, 3, H, W) in [-1, 1]; the result may leave that range, as in the source.
        rng: On the device of x.
    """
    bright, colour, contrast = torch.rand(3, len(x), 1, 1, 1, generator=rng, device=rng.device).to(x)
    x = x + (bright - 0.5)
    grey = x.mean(1, keepdim=True)
    x = torch.lerp(grey, x, 2 * colour)
    mean = x.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, contrast + 0.5)


def translate(x: Tensor, rng: torch.Generator, share: float = 0.125) -> Tensor:
    """Shift each image by whole pixels, up to `share` of its side both ways; what enters is 0, the middle grey."""
    b, _, h, w = x.shape
    reach = (int(h * share + 0.5), int(w * share + 0.5))
    rows, columns = (torch.randint(-r, r + 1, (b, 1, 1), generator=rng, device=rng.device).to(x.device) for r in reach)
    padded = F.pad(x, (reach[1], reach[1], reach[0], reach[0]))
    i = torch.arange(h, device=x.device)[None, :, None] + rows + reach[0]
    j = torch.arange(w, device=x.device)[None, None, :] + columns + reach[1]
    batch = torch.arange(b, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, i, j].permute(0, 3, 1, 2)


def cut_out(x: Tensor, rng: torch.Generator, share: float = 0.5) -> Tensor:
    """Set a square of `share` of the side to 0 in each image; its middle lies anywhere inside the image."""
    b, _, h, w = x.shape
    mask = torch.ones(b, 1, h, w, dtype=x.dtype, device=x.device)
    inside = []
    for side in (h, w):
        size = int(side * share + 0.5)
        start = torch.randint(0, side + (1 - size % 2), (b, 1), generator=rng, device=rng.device).to(x.device)
        position = torch.arange(side, device=x.device)[None] - start + size // 2
        inside.append((position >= 0) & (position < size))
    mask[:, 0][inside[0][:, :, None] & inside[1][:, None, :]] = 0
    return x * mask


_PARTS = {"color": jitter_colour, "translation": translate, "cutout": cut_out}


@AUGMENTS.register("diff_augment")
class DiffAugment(AugmentPipe):
    """Apply the named parts, in this order, to every image.

    Args:
        policy: Some of "color", "translation", "cutout".
    Source: Zhao et al. 2020, arXiv:2006.10738.
    """

    is_identity = False

    def __init__(self, policy: tuple[str, ...] = ("color", "translation", "cutout")) -> None:
        super().__init__()
        for name in policy:
            if name not in _PARTS:
                raise ConfigError(
                    f"augmentation policy names '{name}'{nearest(name, _PARTS)} Known: {', '.join(_PARTS)}."
                )
        self.policy = tuple(policy)

    def forward(self, x: Tensor, rng: torch.Generator) -> Tensor:
        for name in self.policy:
            x = _PARTS[name](x, rng)
        return x
