"""A discriminator that judges overlapping patches of a picture instead of the whole."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ConfigError
from ...nn.blur import blur as blurred
from ..conditioning import Condition
from .protocol import DISCRIMINATORS, DFeatures, Discriminator
from .translator import norm_layer

__all__ = ["PatchDiscriminator"]

SLOPE = 0.2  # of the leaky rectifiers, as in the source


@DISCRIMINATORS.register("patch")
class PatchDiscriminator(Discriminator):
    """Convolutions 4 x 4, `steps` of them with stride 2, then one with stride 1 and a judge; logits (B, P).

    With three steps a logit sees 70 x 70 pixels. `features(x).maps` are the outputs of the strided convolutions and of
    the last one; `h` is the mean of that one over the picture.

    Args:
        channels: Width of the finest map; it doubles with each step up to 8 times.
        steps: Strided convolutions.
        norm: "instance" or "group"; batch norm would let a discriminator tell real batches from false ones.
        resolution: Not used: any size of 2 ** (steps + 2) pixels or more is judged.
        blur: Standard deviation in pixels of a Gaussian that everything judged goes through first; 0 for none. It hides
            a camera's noise, which a translator that draws no noise could only answer by made-up grain.
        condition: See Discriminator; labels would need one judge for all patches, so only none is taken.
    Source: Isola et al. 2017 (pix2pix), arXiv:1611.07004, appendix 6.1.2.
    """

    def __init__(
        self,
        channels: int = 64,
        steps: int = 3,
        norm: str = "instance",
        resolution: int = 0,
        blur: float = 0.0,
        condition: Condition | None = None,
    ) -> None:
        super().__init__(self.width_of(channels=channels, steps=steps), condition)
        if norm == "batch":
            raise ConfigError("norm is 'batch', which compares the images of a batch; use instance or group.")
        if self.condition.needs_labels:
            raise ConfigError("a patch discriminator judges without labels; use condition none.")
        if not blur >= 0:
            raise ConfigError(f"blur is {blur}; it must be 0 or more pixels.")
        self.blur = blur
        widths = [channels * min(8, 2**i) for i in range(steps + 1)]
        self.layers = nn.ModuleList()
        before = 3
        for number, width in enumerate(widths):
            layer: list[nn.Module] = [nn.Conv2d(before, width, 4, stride=2 if number < steps else 1, padding=1)]
            layer += [norm_layer(norm, width)] if number else []
            self.layers.append(nn.Sequential(*layer))
            before = width
        self.judge = nn.Conv2d(before, 1, 4, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    @staticmethod
    def width_of(channels: int = 64, steps: int = 3, **_: object) -> int:
        """D, the width of `h`, for these options."""
        if steps < 1 or channels < 1:
            raise ConfigError(f"channels is {channels} and steps {steps}; use 1 or more of each.")
        return channels * min(8, 2**steps)

    def features(self, x: Tensor) -> DFeatures:
        x = blurred(x, self.blur) if self.blur else x
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            maps.append(x)
        return DFeatures(maps, x.mean((2, 3)))

    def base_logit(self, f: DFeatures) -> Tensor:
        return self.judge(f.maps[-1]).flatten(1)
