"""An encoder and a decoder with a way across at every size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError, DataError
from ...nn.blur import Binomial
from .translator import Residual, norm_layer

__all__ = ["UNet"]


class UNet(nn.Module):
    """Three halvings, residual blocks, and back up with what each size held before: (B, 3, H, W) to (B, K, H, W).

    H and W are multiples of 4, 16 or more. Going up takes the nearest pixel, then a convolution, which draws no
    chequers.

    Args:
        outputs: K.
        channels: Width at full size; it doubles with the first two halvings.
        blocks: Residual blocks at an eighth of the size.
        norm: See `norm_layer`.
        halved: Stop at half of the size, (B, K, H / 2, W / 2), which costs less than half as much.
        smooth: Blur by three pixels before each halving, and go up by straight lines between pixels, so that the answer
            depends less on where the grid of the small maps lies.
    Source: Ronneberger et al. 2015, arXiv:1505.04597, the ways across; narrower, with residual blocks at the bottom.
    Zhang 2019, arXiv:1904.11486, the blur before halving.
    """

    def __init__(
        self,
        outputs: int,
        channels: int = 16,
        blocks: int = 3,
        norm: str = "instance",
        halved: bool = False,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        if channels < 1 or blocks < 0 or outputs < 1:
            raise ConfigError(
                f"outputs is {outputs}, channels {channels} and blocks {blocks}; use 1 or more of the first two, 0 or "
                "more of the last."
            )
        a, b, c = channels, 2 * channels, 4 * channels
        halves = [_half(before, after, norm, smooth) for before, after in ((a, b), (b, c), (c, c))]
        self.encoder = nn.ModuleList([_stage(3, a, 5, norm), *halves])
        self.blocks = nn.ModuleList(Residual(c, norm) for _ in range(blocks))
        self.widths = [a, b, c, c, *[c] * blocks]
        self.decoder = nn.ModuleList([_Up(c, c, c, norm, smooth), _Up(c, b, b, norm, smooth)])
        if not halved:
            self.decoder.append(_Up(b, a + 3, a, norm, smooth))
        self.last = nn.Conv2d(b if halved else a, outputs, 3, padding=1, padding_mode="reflect")
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def features(self, x: Tensor) -> list[Tensor]:
        """Give the outputs of the encoder's stages: four convolutions, then each residual block."""
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % 4 or x.shape[3] % 4 or min(x.shape[2:]) < 16:
            raise DataError(f"images are {tuple(x.shape)}; it takes (B, 3, H, W), H and W multiples of 4 >= 16.")
        found = []
        for stage in [*self.encoder, *self.blocks]:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        stages = self.features(x)
        across = [stages[2], stages[1], torch.cat([stages[0], x], dim=1)]
        y = stages[-1]
        for up, beside in zip(self.decoder, across, strict=False):
            y = up(y, beside)
        out: Tensor = self.last(y)
        return out


class _Up(nn.Module):
    """Enlarge to the size of what lies across, and join the two."""

    def __init__(self, before: int, across: int, after: int, norm: str, smooth: bool) -> None:
        super().__init__()
        self.mode = "bilinear" if smooth else "nearest"
        self.enlarge = nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect")
        self.join = _stage(after + across, after, 3, norm)

    def forward(self, x: Tensor, across: Tensor) -> Tensor:
        large = self.enlarge(F.interpolate(x, size=across.shape[2:], mode=self.mode))
        out: Tensor = self.join(torch.cat([large, across], dim=1))
        return out


def _stage(before: int, after: int, kernel: int, norm: str) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="reflect")
    return nn.Sequential(convolution, norm_layer(norm, after), nn.ReLU())


def _half(before: int, after: int, norm: str, smooth: bool) -> nn.Sequential:
    parts = [nn.Conv2d(before, after, 4, stride=2, padding=1), norm_layer(norm, after), nn.ReLU()]
    return nn.Sequential(*([Binomial()] if smooth else []), *parts)
