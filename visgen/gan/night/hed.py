"""A learned edge detector: side outputs on a convolutional network, fused to one map."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...errors import CheckpointError, ConfigError
from ...structures.png import write_atomically

__all__ = ["HEDNet", "load_edges", "save_edges"]

_FORMAT = "visgen-edges-1"


class HEDNet(nn.Module):
    """Edge logits from every stage of a timm network; `HEDNet()(images)` is an EdgeTeacher.

    Each stage gives a map through `width` channels; all are enlarged to the size of the picture and fused by a learned
    weighted sum. Batch norm inside the network stays in evaluation mode, with the statistics it came with.

    Args:
        name: timm model that offers `features_only`.
        options: Keyword options for `timm.create_model`, such as `pad_type: same`.
        mean, std: Per-channel statistics that the network was trained with, for RGB in [0, 1].
        weights: A safetensors state dict of the full timm model, or None.
        width: Channels of a side branch.
    Raises:
        CheckpointError: The weights cannot be read or do not fit.
    Source: Xie and Tu 2015, arXiv:1504.06375, on another network than VGG16; side branches of several channels as in
        Liu et al. 2017, arXiv:1612.02103.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str = "mobilenetv2_100",
        options: dict[str, Any] | None = None,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        weights: str | Path | None = None,
        width: int = 16,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ConfigError(f"width is {width}; a side branch needs 1 channel or more.")
        self.net = timm.create_model(name, pretrained=False, features_only=True, **(options or {}))
        if weights is not None:
            _load(self.net, Path(weights))
        channels = self.net.feature_info.channels()
        self.sides = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1)) for c in channels
        )
        self.fuse = nn.Conv2d(len(channels), 1, 1)
        nn.init.constant_(self.fuse.weight, 1 / len(channels))
        nn.init.zeros_(self.fuse.bias)  # type: ignore[arg-type]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> HEDNet:
        """Set the mode of everything but batch norm, which stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def all_logits(self, images: Tensor) -> list[Tensor]:
        """Give the logits (B, 1, H, W) of each stage, fine first, and at the end the fused ones.

        Args:
            images: (B, 3, H, W) in [0, 1]; any H and W of 32 or more.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 32:
            raise ConfigError(f"images are {tuple(images.shape)}; an edge detector takes (B, 3, H, W), H and W >= 32.")
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % 32, 0, -height % 32), mode="replicate")
        maps = []
        for level, side in zip(self.net((padded - self.mean) / self.std), self.sides, strict=True):
            large = F.interpolate(side(level), size=padded.shape[2:], mode="bilinear", align_corners=False)
            maps.append(large[..., :height, :width])
        return [*maps, self.fuse(torch.cat(maps, dim=1))]

    def forward(self, images: Tensor) -> Tensor:
        return self.all_logits(images)[-1]


def _load(net: nn.Module, path: Path) -> None:
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"weights '{path}' cannot be read: {error}; give a safetensors file, or None.") from error
    own = net.state_dict()
    missing = [k for k in own if k not in state or state[k].shape != own[k].shape]
    if missing:
        raise CheckpointError(f"weights '{path}' lack '{missing[0]}' of the shape needed; use this network's.")
    net.load_state_dict({k: state[k].to(own[k].dtype) for k in own})


def save_edges(folder: str | Path, net: HEDNet, options: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
    """Write `config.json` and `edges.safetensors` into `folder` and give its path.

    Args:
        net: The detector.
        options: Keywords that built it; the path of its first weights is left out.
        facts: Plain values about the training.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}, path / "edges.safetensors")
    plain = {key: value for key, value in options.items() if key != "weights"}
    write_atomically(path / "config.json", json.dumps({"format": _FORMAT, "net": plain, "facts": dict(facts)}).encode())
    return path


def load_edges(folder: str | Path) -> HEDNet:
    """Read a detector that `save_edges` wrote, in evaluation mode.

    Raises:
        CheckpointError: A file is missing, torn, or does not fit.
    """
    path = Path(folder)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        if config.get("format") != _FORMAT:
            raise CheckpointError(f"'{path}/config.json' has format {config.get('format')!r}; this reads {_FORMAT}.")
        net = HEDNet(**config["net"])
        net.load_state_dict(load_file(path / "edges.safetensors"))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{path}' holds no edge detector: {error}; use a folder of save_edges.") from error
    return net.eval()
