"""A convolutional stem cut from any timm model: maps at strides 4, 8, 16 and 32 with the model's own normalisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..errors import CheckpointError, ConfigError
from .protocol import STRIDES

__all__ = ["ConvStem", "ConvStemConfig", "fold_batch_norm", "load_timm_weights"]


@dataclass(frozen=True)
class ConvStemConfig:
    """How to cut a stem.

    Attributes:
        name: timm model name; the model must offer `features_only` maps at strides 4, 8, 16 and 32.
        options: Keyword options for `timm.create_model`, such as `pad_type: same`.
        mean, std: Per-channel statistics that the model was trained with, for RGB in [0, 1].
        weights: A safetensors state dict of the full timm model, or null. Read once, when a training starts.
        pretrained: Let timm fetch its own weights; needs a network.
        freeze: Modules whose parameters stay fixed, as name prefixes inside the timm model.
        fold_norm: Fold batch norm into the convolutions before it. The stem then has no batch statistics, which
            suits small batches; do it after the weights are known, never from scratch.
        final_conv: Append the model's last 1x1 convolution (`conv_head`, `bn2`) to the stride-32 map, where it
            has one.
        layer_norm: Normalise the maps at strides 4, 8 and 16 over their channels, with a learned scale, so that
            decoders read values of unit size; the stride-32 map stays as the model was trained to give it.
    """

    name: str = "mobilenetv2_100"
    options: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    weights: str | None = None
    pretrained: bool = False
    freeze: tuple[str, ...] = ()
    fold_norm: bool = False
    final_conv: bool = False
    layer_norm: bool = False


def load_timm_weights(model: nn.Module, path: str | Path) -> None:
    """Load a safetensors state dict into a timm model, ignoring only classifier tensors the model lacks.

    Raises:
        CheckpointError: The file is missing or torn, or tensors of the model are missing from it.
    """
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise CheckpointError(f"stem weights '{path}' do not exist; give the path of a safetensors file, or null.")
    state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
    own = model.state_dict()
    for key, value in state.items():
        if key in own and own[key].shape != value.shape:
            raise CheckpointError(
                f"stem weights '{path}' do not fit: '{key}' is {tuple(value.shape)} there and {tuple(own[key].shape)} "
                "in the model; use the file of this timm model."
            )
    missing, unexpected = model.load_state_dict(state, strict=False)
    odd = [k for k in unexpected if not k.startswith(("classifier", "head", "fc", "conv_head", "bn2"))]
    if missing or odd:
        raise CheckpointError(
            f"stem weights '{path}' do not fit: missing {missing[:3]}, unexpected {odd[:3]}; use the file of this "
            "timm model."
        )


def fold_batch_norm(model: nn.Module) -> int:
    """Fold each batch norm into the convolution registered right before it, in place; gives how many were folded.

    Only a pair with equal channel counts is touched. The caller compares outputs before and after, because
    registration order need not be the order of computation.
    """
    folded = 0
    for module in model.modules():
        children = list(module.named_children())
        for (conv_name, conv), (norm_name, norm) in zip(children, children[1:], strict=False):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            if conv.out_channels != norm.num_features:
                continue
            setattr(module, conv_name, fuse_conv_bn_eval(conv.eval(), norm.eval()))
            setattr(module, norm_name, getattr(norm, "act", nn.Identity()))
            folded += 1
    return folded


class ConvStem(nn.Module):
    """Maps of a timm convolutional network for images (B, 3, H, W) in [0, 1], H and W multiples of 32.

    `forward` gives {4: (B, C4, H/4, W/4), 8: ..., 16: ..., 32: ...}; `channels` names the widths.
    Batch norm that is not folded stays in evaluation mode, with the statistics it came with.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ConvStemConfig, load_weights: bool = True) -> None:
        super().__init__()
        self.config = config
        full = timm.create_model(config.name, pretrained=config.pretrained and load_weights, **config.options)
        if config.weights and load_weights:
            load_timm_weights(full, config.weights)
        self.net = timm.create_model(config.name, features_only=True, **config.options)
        own = self.net.state_dict()
        known = full.state_dict()
        if not set(own) <= set(known):
            lost = sorted(set(own) - set(known))[:3]
            raise ConfigError(f"timm model '{config.name}' renames {lost} when cut; use a model that keeps names.")
        self.net.load_state_dict({k: known[k] for k in own})
        reductions = self.net.feature_info.reduction()
        if not set(STRIDES) <= set(reductions):
            raise ConfigError(
                f"timm model '{config.name}' has maps at strides {reductions}, a stem needs {list(STRIDES)}; "
                "choose a convolutional model with four stages."
            )
        self._index = {s: reductions.index(s) for s in STRIDES}
        self.channels = {s: self.net.feature_info.channels()[i] for s, i in self._index.items()}
        self.final: nn.Module = nn.Identity()
        if config.final_conv:
            if not hasattr(full, "conv_head"):
                raise ConfigError(f"timm model '{config.name}' has no conv_head; set final_conv to false.")
            self.final = nn.Sequential()
            self.final.add_module("conv", full.conv_head)
            self.final.add_module("norm", full.bn2)
            self.channels[32] = full.conv_head.out_channels
        if config.fold_norm:
            self._fold()
        self.norms = nn.ModuleDict(
            {str(s): LayerNorm2d(self.channels[s]) for s in STRIDES[:-1]} if config.layer_norm else {}
        )
        for name, parameter in self.net.named_parameters():
            if config.freeze and name.startswith(tuple(config.freeze)):
                parameter.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.train(self.training)

    def _fold(self) -> None:
        probe = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        self.net.eval(), self.final.eval()
        with torch.no_grad():
            before = self.final(self.net(probe)[-1])
            fold_batch_norm(self.net), fold_batch_norm(self.final)
            after = self.final(self.net(probe)[-1])
        if not torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.abs().max())):
            raise ConfigError(
                f"folding batch norm changed the output of '{self.config.name}' by "
                f"{float((before - after).abs().max()):.3g}; set fold_norm to false for this model."
            )

    def train(self, mode: bool = True) -> ConvStem:
        """Set the mode of everything but batch norm, which stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        x = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        maps = self.net(x)
        levels = {s: maps[i] for s, i in self._index.items()}
        levels[32] = self.final(levels[32])
        for stride, norm in self.norms.items():
            levels[int(stride)] = norm(levels[int(stride)])
        return levels
