"""SN-ResNet: residual generator and discriminator, the latter under spectral norm."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..conditioning import Condition, ConditionalBatchNorm
from .protocol import DISCRIMINATORS, GENERATORS, DFeatures, Discriminator, Generator
from .sn_dcgan import stages

__all__ = ["ResNetGenerator", "SNResNetDiscriminator"]


class UpBlock(nn.Module):
    """Residual block that doubles the side: norm, rectifier, enlarge, 3 x 3, norm, rectifier, 3 x 3."""

    def __init__(self, inner: int, outer: int, n_classes: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalBatchNorm(inner, n_classes), ConditionalBatchNorm(outer, n_classes)
        self.conv1, self.conv2 = nn.Conv2d(inner, outer, 3, padding=1), nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        inner = F.interpolate(F.relu(self.norm1(x, y)), scale_factor=2.0)
        inner = self.conv2(F.relu(self.norm2(self.conv1(inner), y)))
        # A 1 x 1 convolution and a nearest enlargement commute; this order is four times cheaper.
        return inner + F.interpolate(self.skip(x), scale_factor=2.0)


class DownBlock(nn.Module):
    """Residual block without norm layers; halves the side by averaging when asked.

    Args:
        is_first: Works on pixels, so no rectifier comes before the first convolution.
    """

    def __init__(self, inner: int, outer: int, down: bool, is_first: bool = False) -> None:
        super().__init__()
        self.down, self.is_first = down, is_first
        self.conv1 = spectral_norm(nn.Conv2d(inner, outer, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outer, outer, 3, padding=1))
        self.skip = spectral_norm(nn.Conv2d(inner, outer, 1)) if down or inner != outer else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(F.relu(self.conv1(x if self.is_first else F.relu(x))))
        if not self.down:
            return inner + self.skip(x)
        return F.avg_pool2d(inner, 2) + self.skip(F.avg_pool2d(x, 2))  # averaging commutes with the 1 x 1 skip


@GENERATORS.register("resnet")
class ResNetGenerator(Generator):
    """Linear to 4 x 4, residual blocks that double the side, norm, rectifier, 3 x 3 to colours.

    Args:
        resolution: 32 or 64 px (any power of two from 8).
        channels: Width of all maps at 32 px; at more, the coarse maps are wider, twice for each further doubling.
        z_dim, n_classes: As in Generator.
    Source: Miyato et al. 2018, arXiv:1802.05957, tables 4 and 5.
    """

    def __init__(self, resolution: int = 32, channels: int = 128, z_dim: int = 128, n_classes: int = 0) -> None:
        super().__init__(z_dim, n_classes, resolution)
        steps = stages(resolution)
        widths = [channels * 2 ** max(0, steps - 3 - i) for i in range(steps + 1)]
        self.first = nn.Linear(z_dim, widths[0] * 16)
        self.blocks = nn.ModuleList(UpBlock(a, b, n_classes) for a, b in zip(widths, widths[1:]))
        self.norm = ConditionalBatchNorm(widths[-1])
        self.last = nn.Conv2d(widths[-1], 3, 3, padding=1)
        _start(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        self.check(z, y)
        x = self.first(z).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            x = block(x, y)
        return self.last(F.relu(self.norm(x))).tanh()


@DISCRIMINATORS.register("sn_resnet")
class SNResNetDiscriminator(Discriminator):
    """Residual blocks down to 8 x 8 at 32 px (4 x 4 at 64 px), two of them at that size; `h` sums the last map.

    Args:
        resolution: 32 or 64 px (any power of two from 8).
        channels: Width of all maps at 32 px; at more it starts there and doubles with each halving beyond the second.
        condition: See Discriminator; built for `width_of(resolution, channels)`.
    Source: Miyato et al. 2018, arXiv:1802.05957, tables 4 and 5.
    """

    def __init__(self, resolution: int = 32, channels: int = 128, condition: Condition | None = None) -> None:
        super().__init__(self.width_of(resolution, channels), condition)
        downs = max(2, stages(resolution))
        downs = 2 if resolution <= 32 else downs
        widths = [channels * 2 ** max(0, i - 1) if resolution > 32 else channels for i in range(downs)]
        blocks = [DownBlock(a, b, True, i == 0) for i, (a, b) in enumerate(zip([3, *widths], widths))]
        self.blocks = nn.ModuleList([*blocks, *(DownBlock(widths[-1], widths[-1], False) for _ in range(2))])
        self.downs = downs
        _start(self)
        self.judge = spectral_norm(nn.Linear(self.width, 1))

    @staticmethod
    def width_of(resolution: int = 32, channels: int = 128) -> int:
        """D, the width of `h`, for these options."""
        return channels if resolution <= 32 else channels * 2 ** max(0, stages(resolution) - 2)

    def features(self, x: Tensor) -> DFeatures:
        maps = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number < self.downs:
                maps.append(x)
        maps[-1] = F.relu(x)
        return DFeatures(maps, maps[-1].sum((2, 3)))

    def base_logit(self, f: DFeatures) -> Tensor:
        return self.judge(f.h).squeeze(1)


def _start(network: nn.Module) -> None:
    """Glorot's uniform start for kernels, times sqrt(2) inside residual branches, as in the source."""
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = module.parametrizations.weight.original if hasattr(module, "parametrizations") else module.weight  # type: ignore[union-attr, index]
            nn.init.xavier_uniform_(weight, gain=2**0.5 if "conv" in name else 1.0)  # type: ignore[arg-type]
            if module.bias is not None:
                nn.init.zeros_(module.bias)
