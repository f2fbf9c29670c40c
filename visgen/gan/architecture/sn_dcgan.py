"""SN-DCGAN: a plain convolutional generator, and a discriminator whose layers are all under spectral norm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ...errors import ConfigError
from ..conditioning import Condition, ConditionalBatchNorm
from .protocol import DISCRIMINATORS, GENERATORS, DFeatures, Discriminator, Generator

__all__ = ["DCGenerator", "SNDCDiscriminator"]

SLOPE = 0.1  # of the leaky rectifiers, as in the source


def stages(resolution: int) -> int:
    """How often a 4 x 4 map doubles to reach the resolution: 3 for 32 px, 4 for 64 px."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ConfigError(f"resolution is {resolution}; these networks take powers of two from 8, such as 32 and 64.")
    return resolution.bit_length() - 3


@GENERATORS.register("dcgan")
class DCGenerator(Generator):
    """Linear to 4 x 4, then transposed convolutions that double the side, each with batch norm and a rectifier.

    Args:
        resolution: 32 or 64 px (any power of two from 8).
        channels: Width of the finest map; each coarser one has twice as many.
        z_dim: Width of the latent vector.
        n_classes: K > 0 makes the batch norms conditional.
    Source: Miyato et al. 2018, arXiv:1802.05957, table 3; weights start as N(0, 0.02) as in Radford et al. 2015,
    arXiv:1511.06434.
    """

    def __init__(self, resolution: int = 32, channels: int = 64, z_dim: int = 128, n_classes: int = 0) -> None:
        super().__init__(z_dim, n_classes, resolution)
        widths = [channels * 2**i for i in range(stages(resolution), -1, -1)]
        self.first = nn.Linear(z_dim, widths[0] * 16, bias=False)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False) for a, b in zip(widths, widths[1:])
        )
        self.norms = nn.ModuleList(ConditionalBatchNorm(width, n_classes) for width in widths)
        self.last = nn.Conv2d(widths[-1], 3, 3, padding=1)
        for module in (self.first, self.last, *self.ups):
            nn.init.normal_(module.weight, std=0.02)  # type: ignore[arg-type]

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        self.check(z, y)
        x = self.first(z).unflatten(1, (-1, 4, 4))
        x = F.relu(self.norms[0](x, y))
        for up, norm in zip(self.ups, list(self.norms)[1:], strict=True):
            x = F.relu(norm(up(x), y))
        return self.last(x).tanh()


@DISCRIMINATORS.register("sn_dcgan")
class SNDCDiscriminator(Discriminator):
    """Pairs of a 3 x 3 and a 4 x 4 stride-2 convolution down to 4 x 4, a last 3 x 3 one, and a linear judge.

    `features(x).maps` are the outputs of the strided convolutions but the last, and of the last convolution; `h` is
    that map, flattened.

    Args:
        resolution: 32 or 64 px (any power of two from 8).
        channels: Width of the finest maps; it doubles with each halving of the side.
        condition: See Discriminator; built for `width_of(resolution, channels)`.
    Source: Miyato et al. 2018, arXiv:1802.05957, table 3; the strided convolutions widen.
    """

    def __init__(self, resolution: int = 32, channels: int = 64, condition: Condition | None = None) -> None:
        super().__init__(self.width_of(resolution, channels), condition)
        steps = stages(resolution)
        layers: list[nn.Module] = []
        before = 3
        for i in range(steps):
            width = channels * 2**i
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)]
            before = 2 * width
        layers.append(nn.Conv2d(before, before, 3, padding=1))
        self.layers = nn.ModuleList(spectral_norm(layer) for layer in layers)
        self.judge = spectral_norm(nn.Linear(self.width, 1))

    @staticmethod
    def width_of(resolution: int = 32, channels: int = 64) -> int:
        """D, the width of `h`, for these options."""
        return 16 * channels * 2 ** stages(resolution)

    def features(self, x: Tensor) -> DFeatures:
        maps = []
        for number, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), SLOPE)
            if number % 2 == 1:
                maps.append(x)
        maps[-1] = x  # the last convolution works on the coarsest map
        return DFeatures(maps, x.flatten(1))

    def base_logit(self, f: DFeatures) -> Tensor:
        return self.judge(f.h).squeeze(1)
