"""The denoiser of an instruction model as a backbone: one pass without noise, and maps from inside of it.

The model comes in as an object, since the wings do not know one another. Taps are the decoder's blocks before they
enlarge, the middle block, and the VAE's encoder where the heads want a finer map than the denoiser has.

Source: VPD (Zhao et al. 2023, arXiv:2303.02153) for taps, text and one pass; here the timestep is the one that the
model was trained at for answers in one step, with zeros for noise, instead of VPD's t = 1 with the image latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import build_options
from .protocol import BACKBONES, STRIDES, Backbone, Features, crop_pyramid, pad_to_multiple

__all__ = ["DiffusionFeatures", "DiffusionFeaturesConfig"]

DEFAULT_TEXTS = {
    "depth": "how far is everything",
    "ood": "is anything unusual",
    "classification": "classify the picture",
    "detection": "find everything",
    "segmentation": "segment everything",
    "scene_graph": "scene graph",
}


@dataclass(frozen=True)
class DiffusionFeaturesConfig:
    """Which model, and how its maps are brought to one width.

    Attributes:
        model: The instruction model, or a description of it that the model zoo turns into one.
        width: Channels of every map and of the token.
        side: Images are resized so that their longer side is this many pixels, which the denoiser knows; 0 leaves them.
        frozen: Train the adapters alone.
        texts: Task to the sentence that the denoiser reads; others than those named read a plain one.
    """

    model: Any = None
    width: int = 96
    side: int = 0
    frozen: bool = True
    texts: Mapping[str, str] = field(default_factory=dict)


@BACKBONES.register("diffusion_features")
class DiffusionFeatures(Backbone):
    """Maps of an instruction model at strides 4, 8, 16 and 32, adapted by a small feature pyramid.

    A model with a VAE of stride v gives maps at v and coarser; a finer one comes from the VAE's encoder or by
    enlarging. Everything under a stride that is missing is the nearest one pooled or enlarged.
    """

    diffusion: Any  # an InstructDiffusion, whose class this layer does not know

    def __init__(
        self, config: DiffusionFeaturesConfig | None = None, load_weights: bool = True, **options: Any
    ) -> None:
        super().__init__()
        config = config or build_options(DiffusionFeaturesConfig, options, "backbone diffusion_features")
        if not isinstance(config.model, nn.Module):
            raise ConfigError(
                f"backbone diffusion_features got model {type(config.model).__name__}; give an instruction model "
                "(visgen.diffusion.InstructDiffusion)."
            )
        self.config, self.diffusion = config, config.model
        self._texts = {**DEFAULT_TEXTS, **config.texts}
        widths = [int(w) for w in self.diffusion.unet.config.block_out_channels]
        stride = 2 ** (len(self.diffusion.vae.config.block_out_channels) - 1)
        # Coarse to fine: up block k works at the stride of level len - 1 - k before it enlarges.
        self._strides = [stride * 2**k for k in reversed(range(len(widths)))]
        self._widths = list(reversed(widths))
        self._taps = list(self.diffusion.unet.up_blocks)
        self.adapters = nn.ModuleList([nn.Sequential(nn.Conv2d(w, config.width, 1), _norm(config.width)) for w in
                                       self._widths])  # fmt: skip
        self.smooth = nn.ModuleDict({str(s): nn.Conv2d(config.width, config.width, 3, padding=1) for s in STRIDES})
        self.token = nn.Linear(config.width, config.width)
        self.channels = dict.fromkeys(STRIDES, config.width)
        self.token_dim = config.width
        self.diffusion.requires_grad_(False)
        if not config.frozen:  # the VAE stays, and what comes after the last tap gives no features
            for part in (self.diffusion.unet, self.diffusion.text_encoder):
                part.requires_grad_(True)
            for part in (self.diffusion.unet.conv_norm_out, self.diffusion.unet.conv_out):
                part.requires_grad_(False)
        self._multiple = max(32, stride * 2 ** (len(widths) - 1))

    def train(self, mode: bool = True) -> DiffusionFeatures:
        """The frozen model stays in evaluation mode."""
        super().train(mode)
        if self.config.frozen:
            self.diffusion.eval()
        return self

    def prefix(self, images: Tensor) -> Any:
        """Image latents, which every task shares."""
        padded, size = pad_to_multiple(images, self._multiple)
        work = padded
        if self.config.side:
            scale = self.config.side / max(padded.shape[-2:])
            step = self._multiple
            shape = [max(step, round(side * scale / step) * step) for side in padded.shape[-2:]]
            work = F.interpolate(padded, size=shape, mode="bilinear", antialias=True, align_corners=False)
        with torch.set_grad_enabled(not self.config.frozen and torch.is_grad_enabled()):
            latents = self.diffusion.encode_image(work * 2 - 1)
        return latents, tuple(padded.shape[-2:]), size

    def suffix(self, state: Any, task: str | Tensor | None = None, text: Any = None) -> Features:
        latents, padded, size = state
        states = self._text_states(task, text, len(latents))
        with torch.set_grad_enabled(not self.config.frozen and torch.is_grad_enabled()):
            maps = self._maps(latents, states)
        joined: Tensor | None = None
        levels: dict[int, Tensor] = {}
        for adapter, stride, level in zip(self.adapters, self._strides, maps, strict=True):
            own = adapter(level)
            if joined is not None:
                own = own + F.interpolate(joined, size=own.shape[-2:], mode="nearest")
            levels[stride] = joined = own
        pyramid = {}
        for stride in STRIDES:
            nearest = min(levels, key=lambda s, want=stride: (abs(s.bit_length() - want.bit_length()), s))  # type: ignore[misc]
            grid = (padded[0] // stride, padded[1] // stride)
            pyramid[stride] = self.smooth[str(stride)](_resize(levels[nearest], grid))
        coarsest = levels[self._strides[0]]
        return Features(crop_pyramid(pyramid, size), self.token(coarsest.mean(dim=(2, 3))))

    def forward(self, images: Tensor, task: str | Tensor | None = None, text: Any = None) -> Features:
        """Give the Features; `text`, a sentence or one per image, takes the place of the task's own sentence."""
        return self.suffix(self.prefix(images), task, text)

    def _text_states(self, task: str | Tensor | None, text: Any, count: int) -> Tensor:
        if text is not None:
            sentences = [text] * count if isinstance(text, str) else list(text)
        else:
            known = list(DEFAULT_TEXTS)
            names = [known[int(k)] for k in task] if isinstance(task, Tensor) else [task or ""] * count
            sentences = [self._texts.get(name, "") for name in names]
        if self.config.frozen:
            states: Tensor = self.diffusion.encode_text(sentences)
            return states
        return self.diffusion.embed(sentences)

    def _maps(self, latents: Tensor, states: Tensor) -> list[Tensor]:
        """What each block of the decoder holds before it enlarges, coarse to fine."""
        found: dict[int, Tensor] = {}
        hooks = []
        for number, block in enumerate(self._taps):
            attentions = getattr(block, "attentions", None)
            last = attentions[-1] if attentions is not None else block.resnets[-1]

            def keep(_: nn.Module, __: Any, output: Any, number: int = number) -> None:
                found[number] = output if isinstance(output, Tensor) else output[0]

            hooks.append(last.register_forward_hook(keep))
        try:
            zeros = torch.zeros_like(latents)
            last_step = torch.full((len(latents),), self.diffusion.last_timestep, device=latents.device)
            self.diffusion.predict(zeros, last_step, latents, states)
        finally:
            for hook in hooks:
                hook.remove()
        return [found[number] for number in range(len(self._taps))]


def _norm(width: int) -> nn.Module:
    return nn.GroupNorm(1, width)


def _resize(level: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(level.shape[-2:]) == grid:
        return level
    if level.shape[-2] > grid[0]:
        return F.adaptive_avg_pool2d(level, grid)
    return F.interpolate(level, size=grid, mode="bilinear", align_corners=False)
