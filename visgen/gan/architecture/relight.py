"""Translators that dim a picture and put light on it, instead of painting it anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...nn.blur import binomial
from .camera import add_camera_noise, check_grain
from .translator import TRANSLATORS, Residual, ResNetTranslator, norm_layer
from .unet import UNet

__all__ = ["RelightTranslator", "RelightUNet"]

_LIGHT = -4.0  # logit of the added light at the start: 2 % of white


def _start(last: nn.Conv2d) -> None:
    """Let a last layer begin with half of the picture and hardly any light, everywhere."""
    nn.init.normal_(last.weight, std=0.01)
    assert last.bias is not None
    with torch.no_grad():
        last.bias[3:] = _LIGHT


def _relit(x: Tensor, factor: Tensor, light: Tensor) -> Tensor:
    """Images in [-1, 1], dimmed and lit."""
    dimmed = factor * (x + 1) / 2
    return 2 * (dimmed + light * (1 - dimmed)) - 1


class _Doubling(nn.ConvTranspose2d):
    """Twice the height and width; where `smooth`, then a binomial blur of three pixels, which wipes out what differs
    from pixel to pixel only because the two see other weights of the kernel."""

    def __init__(self, before: int, after: int, smooth: bool) -> None:
        super().__init__(before, after, 4, stride=2, padding=1)
        self.smooth = smooth

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        large = super().forward(x, output_size)
        if not self.smooth:
            return large
        return binomial(large)


@TRANSLATORS.register("relight")
class RelightTranslator(ResNetTranslator):
    """Per pixel and colour a factor in (0, 1) on the picture and an amount of light in (0, 1) that is added.

    With p the picture in [0, 1], f the factor and l the light, the answer is d + l (1 - d) with d = f p: a screen
    blend, which stays in [0, 1]. What the picture shows is carried over by the product and need not be drawn again, so
    that a small network keeps fine detail after few steps. Trunk and options are those of `ResNetTranslator`.

    Args:
        channels: Width at full size; it doubles with each halving.
        blocks: Residual blocks.
        norm: See `norm_layer`.
        smooth: Blur after each doubling, which keeps chequered patterns out of both maps. Weights that were trained
            without it need a few hundred steps more with it.
        grain: Range, on the scale 0..1, of the standard deviation of the noise that each answer gets while training:
            what a camera adds need then not be imitated by a network that draws nothing. Answers in use have none.
            Everything sees this noise, what compares edges too; `grain` of the objective "night" is for judges alone.
    """

    def __init__(
        self,
        channels: int = 24,
        blocks: int = 4,
        norm: str = "instance",
        smooth: bool = False,
        grain: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        check_grain(grain)
        if channels < 1 or blocks < 0:
            raise ConfigError(f"channels is {channels} and blocks {blocks}; use 1 or more and 0 or more.")
        super().__init__(channels, 0, norm)
        self.grain = tuple(grain)
        a, b, c = channels, 2 * channels, 4 * channels
        self.encoder.extend(Residual(c, norm) for _ in range(blocks))
        self.widths = [a, b, c, *[c] * blocks]
        last = nn.Conv2d(a, 6, 7, padding=3, padding_mode="reflect")
        self.decoder = nn.Sequential(
            *(_Doubling(c, b, smooth), norm_layer(norm, b), nn.ReLU()),
            *(_Doubling(b, a, smooth), norm_layer(norm, a), nn.ReLU()),
            last,
        )
        for layer in [*self.encoder.modules(), *self.decoder.modules()]:
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        _start(last)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give factor and light, each (B, 3, H, W) in (0, 1), for images in [-1, 1]."""
        factor, light = self.decoder(self.features(x)[-1]).sigmoid().chunk(2, dim=1)
        return factor, light

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Translate images; `y` is not read (a generator's labels)."""
        night = _relit(x, *self.maps(x))
        return add_camera_noise(night, self.grain) if self.training and self.grain[1] > 0 else night


@TRANSLATORS.register("relight-unet")
class RelightUNet(UNet):
    """Factor and light of `RelightTranslator`, drawn by a network with ways across at every size.

    Lit windows keep their borders, since the last layers see the picture itself, and the bottom sees an eighth of its
    size, so that sky and road are told apart.

    Args:
        channels, blocks, norm, smooth: See `UNet`.
    """

    def __init__(self, channels: int = 16, blocks: int = 3, norm: str = "instance", smooth: bool = False) -> None:
        super().__init__(6, channels, blocks, norm, smooth=smooth)
        _start(self.last)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give factor and light, each (B, 3, H, W) in (0, 1), for images in [-1, 1]."""
        factor, light = super().forward(x).sigmoid().chunk(2, dim=1)
        return factor, light

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Translate images (B, 3, H, W) in [-1, 1]; `y` is not read (a generator's labels)."""
        return _relit(x, *self.maps(x))
