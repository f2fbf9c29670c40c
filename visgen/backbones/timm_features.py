"""Any timm model as a backbone of the same heads, convolutional or transformer; it has no tasks of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, UnknownName, nearest
from ..options import build_options
from .conv_stem import load_timm_weights
from .protocol import BACKBONES, STRIDES, Backbone, Features, crop_pyramid, pad_to_multiple

__all__ = ["TimmBackbone", "TimmBackboneConfig"]


@dataclass(frozen=True)
class TimmBackboneConfig:
    """Which timm model, and how to feed it.

    Attributes:
        model: timm model name.
        options: Keyword options for `timm.create_model`.
        mean, std: Statistics for RGB in [0, 1]; null takes those of the timm model.
        weights: A safetensors state dict of the full timm model, or null.
        pretrained: Let timm fetch its own weights; needs a network.
        fixed: The network stays as it is, in evaluation mode and without gradients; heads alone are trained.
    """

    model: str = "mobilenetv2_100"
    options: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    weights: str | None = None
    pretrained: bool = False
    fixed: bool = False


@BACKBONES.register("timm")
class TimmBackbone(Backbone):
    """Features of a timm model at strides 4, 8, 16 and 32; the token is the mean of its deepest map.

    A stride that the model lacks is made from the nearest one it has: bilinear towards finer, average pooling
    towards coarser. A plain ViT (one stride) therefore serves too; its positions follow the image size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: TimmBackboneConfig | None = None, load_weights: bool = True, **options: Any) -> None:
        super().__init__()
        config = config or build_options(TimmBackboneConfig, options, "backbone timm")
        self.config = config
        if ":" not in config.model and not timm.is_model(config.model):  # with a colon: a hub's name or a path
            raise UnknownName(f"timm has no model '{config.model}'{nearest(config.model, timm.list_models())}")
        try:
            full = timm.create_model(config.model, pretrained=config.pretrained and load_weights, **config.options)
        except TypeError as error:
            raise ConfigError(
                f"timm model '{config.model}' does not take the options {dict(config.options)}: {error}; leave out "
                "what belongs to another model."
            ) from error
        if config.weights and load_weights:
            load_timm_weights(full, config.weights)
        extra = {"dynamic_img_size": True} if hasattr(full, "patch_embed") and hasattr(full, "pos_embed") else {}
        try:
            self.net = timm.create_model(config.model, features_only=True, **extra, **config.options)
        except (RuntimeError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"timm model '{config.model}' gives no feature maps ({error}); choose one that supports features_only."
            ) from error
        body = getattr(self.net, "model", self.net)  # transformers are wrapped by timm, convolutional nets are cut
        known = full.state_dict()
        body.load_state_dict({k: known[k] for k in body.state_dict() if k in known}, strict=False)
        reductions, widths = self.net.feature_info.reduction(), self.net.feature_info.channels()
        # The last map at a stride is the deepest one; coarse maps are preferred as donors of absent strides.
        self._donor = {s: _nearest_stride(s, reductions) for s in STRIDES}
        self._index = {s: len(reductions) - 1 - reductions[::-1].index(d) for s, d in self._donor.items()}
        self.channels = {s: widths[self._index[s]] for s in STRIDES}
        self.token_dim = widths[-1]
        cfg = getattr(full, "pretrained_cfg", {}) or {}
        mean, std = config.mean or cfg.get("mean", (0.5,) * 3), config.std or cfg.get("std", (0.5,) * 3)
        if config.fixed:
            self.net.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> TimmBackbone:
        """Set the mode; a fixed network stays in evaluation mode, with the statistics it came with."""
        super().train(mode)
        if self.config.fixed:
            self.net.eval()
        return self

    def prefix(self, images: Tensor) -> Features:
        padded, size = pad_to_multiple(images)
        maps = self.net((padded - self.mean) / self.std)
        pyramid = {}
        for stride in STRIDES:
            grid = (padded.shape[-2] // stride, padded.shape[-1] // stride)
            level = maps[self._index[stride]]
            if tuple(level.shape[-2:]) != grid:
                finer = level.shape[-2] > grid[0]
                level = (
                    F.adaptive_avg_pool2d(level, grid)
                    if finer
                    else F.interpolate(level, size=grid, mode="bilinear", align_corners=False)
                )
            pyramid[stride] = level
        return Features(pyramid=crop_pyramid(pyramid, size), token=maps[-1].mean(dim=(2, 3)))

    def suffix(self, state: Features, task: str | Tensor | None = None) -> Features:
        return state


def _nearest_stride(stride: int, available: list[int]) -> int:
    return min(available, key=lambda s: (abs(s.bit_length() - stride.bit_length()), s))
