"""A network that turns a picture into one of another domain, any size, and leaves things where they are."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ...errors import ConfigError, DataError
from ...registry import Registry

__all__ = ["TRANSLATORS", "ResNetTranslator", "Residual", "norm_layer"]

TRANSLATORS: Registry[Any] = Registry(
    "translator", "A module: images (B, 3, H, W) in [-1, 1] -> the same, of another domain."
)
NORMS = ("instance", "batch", "group")


def norm_layer(name: str, channels: int) -> nn.Module:
    """Give a normalisation: "instance" (no affine part), "batch", or "group" (groups of 8 channels)."""
    if name not in NORMS:
        raise ConfigError(f"norm '{name}' is unknown; use one of {', '.join(NORMS)}.")
    if name == "instance":
        return nn.InstanceNorm2d(channels)
    return nn.BatchNorm2d(channels) if name == "batch" else nn.GroupNorm(max(1, channels // 8), channels)


class Residual(nn.Module):
    """Two 3 x 3 convolutions with reflected borders beside the identity: (B, C, H, W) to the same.

    Args:
        width: C.
        norm: See `norm_layer`.
    """

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"),
            norm_layer(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"),
            norm_layer(norm, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@TRANSLATORS.register("resnet")
class ResNetTranslator(nn.Module):
    """Two halvings, residual blocks, two doublings; no noise, so that one picture gives one answer.

    Images are (B, 3, H, W) in [-1, 1] with H and W multiples of 4, 16 or more; so are the answers.

    Args:
        channels: Width at full size; it doubles with each halving.
        blocks: Residual blocks.
        norm: See `norm_layer`. Instance norm treats each picture on its own in training too.
        init_std: Standard deviation of the weights at the start; None for He's rule.
    Source: Johnson et al. 2016, arXiv:1603.08155, as used by Zhu et al. 2017, arXiv:1703.10593, appendix 7.2.
    """

    def __init__(
        self, channels: int = 32, blocks: int = 6, norm: str = "instance", init_std: float | None = None
    ) -> None:
        super().__init__()
        if channels < 1 or blocks < 0:
            raise ConfigError(f"channels is {channels} and blocks {blocks}; use 1 or more and 0 or more.")
        a, b, c = channels, 2 * channels, 4 * channels
        self.encoder = nn.ModuleList(
            [
                self._stage(nn.Conv2d(3, a, 7, padding=3, padding_mode="reflect"), norm),
                self._stage(nn.Conv2d(a, b, 3, stride=2, padding=1), norm),
                self._stage(nn.Conv2d(b, c, 3, stride=2, padding=1), norm),
                *(Residual(c, norm) for _ in range(blocks)),
            ]
        )
        self.decoder = nn.Sequential(
            self._stage(nn.ConvTranspose2d(c, b, 3, stride=2, padding=1, output_padding=1), norm),
            self._stage(nn.ConvTranspose2d(b, a, 3, stride=2, padding=1, output_padding=1), norm),
            nn.Conv2d(a, 3, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        self.widths = [a, b, c, *[c] * blocks]
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                if init_std is None:
                    nn.init.kaiming_normal_(module.weight)
                else:
                    nn.init.normal_(module.weight, std=init_std)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    @staticmethod
    def _stage(layer: nn.Module, norm: str) -> nn.Sequential:
        width = layer.out_channels
        assert isinstance(width, int)
        return nn.Sequential(layer, norm_layer(norm, width), nn.ReLU())

    def features(self, x: Tensor) -> list[Tensor]:
        """Give the outputs of the encoder's stages: three convolutions, then each residual block."""
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] % 4 or x.shape[3] % 4 or min(x.shape[2:]) < 16:
            raise DataError(f"images are {tuple(x.shape)}; it takes (B, 3, H, W), H and W multiples of 4 >= 16.")
        found = []
        for stage in self.encoder:
            x = stage(x)
            found.append(x)
        return found

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Translate images; `y` is not read (a generator's labels)."""
        out: Tensor = self.decoder(self.features(x)[-1])
        return out
