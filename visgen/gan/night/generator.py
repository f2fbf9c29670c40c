"""A trained day-to-night translator for pictures of any size, saved and loaded without pickle."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import CheckpointError, ConfigError, DataError, VisgenError
from ...nn.luma import luma
from ...nn.round_bits import round_bits
from ...shipped import shipped_path
from ..architecture.translator import TRANSLATORS
from ..folder import hash_file, write_folder

__all__ = ["NIGHT_MODEL", "NightGenerator", "load_night", "save_night"]

NIGHT_MODEL = "visgen-night-tiny"
"""The shipped generator."""

_FORMAT = "visgen-night-2"
_FLAT_FORMAT = "visgen-night-1"  # the fields of "model" lie beside the hash
_MULTIPLE = 4  # of the sides that a translator takes
_LEAST = 16
_HIGHLIGHTS_FROM = 0.9  # share of a picture's pixels that are darker than its highlights


class NightGenerator(nn.Module):
    """Turns pictures of the day into pictures of the night: (B, 3, H, W) in [0, 1] to the same, H and W >= 16.

    Runs in evaluation mode and without gradients. Sides are padded by reflection to multiples of 4 and cut back, so
    every label keeps its place. One picture always gives one answer.

    Args:
        translator: Works in [-1, 1].
        resolution: Side of the training crops in pixels; pictures shown at about their scale come out best.
        sha256: Of the file that it was read from; names it in the meta of every sample. "" for one not saved yet.
        gamma: The answer is raised to this power, an exposure: above 1 makes its nights darker, lights least of all.
        highlight: A day whose brightest tenth begins above this luma, in (0, 1], is first dimmed by a factor until it
            begins there: glare is the camera's, and an overexposed sky would stay white by night. 1 dims none.
    """

    def __init__(
        self,
        translator: nn.Module,
        resolution: int = 128,
        sha256: str = "",
        gamma: float = 1.0,
        highlight: float = 1.0,
    ) -> None:
        super().__init__()
        if not gamma > 0:
            raise ConfigError(f"gamma is {gamma}; it must be above 0, and 1 leaves the answer as it is.")
        if not 0 < highlight <= 1:
            raise ConfigError(f"highlight is {highlight}; it must be in (0, 1], and 1 leaves days as they are.")
        self.translator = translator
        self.resolution, self.sha256, self.gamma, self.highlight = resolution, sha256, gamma, highlight
        self.eval()

    @property
    def identity(self) -> str:
        """Hash of all that its nights depend on; that of the file where both exposures are plain, "" where unsaved."""
        if not self.sha256 or (self.gamma == 1 and self.highlight == 1):
            return self.sha256
        metered = "" if self.highlight == 1 else f"/{self.highlight!r}"
        return hashlib.sha256(f"{self.sha256}/{self.gamma!r}{metered}".encode()).hexdigest()

    def train(self, mode: bool = True) -> NightGenerator:
        """Stay in evaluation mode: an answer must not depend on the other pictures of a batch."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, tile: int | None = None, overlap: int = 32) -> Tensor:
        """Translate pictures.

        Args:
            images: (B, 3, H, W) in [0, 1].
            tile: Work on squares of this side, for pictures too large for memory; None takes the picture whole.
                Instance norm sees a tile and not the picture, so tiles differ from the whole where light does.
            overlap: Pixels that neighbouring tiles share and over which they are blended.
        Raises:
            DataError: Wrong shape or values, or a side below 16.
        """
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < _LEAST:
            raise DataError(f"images are {tuple(images.shape)}; a night takes (B, 3, H, W) with sides of 16 or more.")
        if not (float(images.min()) >= 0 and float(images.max()) <= 1):  # NaN is refused too
            raise DataError(
                f"images hold values from {float(images.min()):.3g} to {float(images.max()):.3g}; they must lie in "
                "[0, 1]."
            )
        images = self._metered(images)
        if tile is None or max(images.shape[2:]) <= tile:
            return self._exposed(self._whole(images))
        if tile < 2 * overlap or tile % _MULTIPLE or overlap < 1:
            raise ConfigError(
                f"tile is {tile} and overlap {overlap}; use a multiple of 4, at least twice the overlap, and 1."
            )
        return self._exposed(self._tiled(images, tile, overlap))

    def _metered(self, days: Tensor) -> Tensor:
        if self.highlight == 1:
            return days
        bright = luma(days.to(torch.float32)).flatten(1)
        count = bright.shape[1] - math.ceil(_HIGHLIGHTS_FROM * bright.shape[1]) + 1
        level = bright.topk(count).values[:, -1]  # not kthvalue, which has no deterministic form on accelerators
        return days * (self.highlight / level.clamp(min=self.highlight)).to(days.dtype)[:, None, None, None]

    def _exposed(self, night: Tensor) -> Tensor:
        return night if self.gamma == 1 else night.clamp(0, 1) ** self.gamma

    def _whole(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        padded = F.pad(2 * images - 1, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="reflect")
        night: Tensor = self.translator(padded)[..., :height, :width]
        return ((night + 1) / 2).clamp(0, 1)

    def _tiled(self, images: Tensor, tile: int, overlap: int) -> Tensor:
        total = torch.zeros_like(images)
        weight = images.new_zeros(1, 1, *images.shape[2:])
        for top in _starts(images.shape[2], tile, overlap):
            for left in _starts(images.shape[3], tile, overlap):
                here = (..., slice(top, top + tile), slice(left, left + tile))
                part = self._whole(images[here])
                window = _ramp(part.shape[2], overlap, images)[:, None] * _ramp(part.shape[3], overlap, images)
                total[here] += part * window
                weight[here] += window
        return total / weight


def _starts(side: int, tile: int, overlap: int) -> list[int]:
    """First pixels of tiles that cover a side; the last one ends at its end."""
    if side <= tile:
        return [0]
    return [*range(0, side - tile, tile - overlap), side - tile]


def _ramp(side: int, overlap: int, like: Tensor) -> Tensor:
    """Weights that rise over the overlap, stay at 1, and fall: never 0, so that borders count."""
    distance = torch.arange(1, side + 1, device=like.device, dtype=like.dtype)
    return torch.minimum(distance, distance.flip(0)).clamp(max=overlap) / overlap


def save_night(
    folder: str | Path,
    translator: nn.Module,
    options: Mapping[str, Any],
    resolution: int,
    facts: Mapping[str, Any] | None = None,
    bits: int | None = None,
    gamma: float = 1.0,
    highlight: float = 1.0,
) -> Path:
    """Write `config.json` and `generator.safetensors` into `folder` and give its path.

    Args:
        translator: As `TRANSLATORS` builds it from `options`.
        options: {name: key in TRANSLATORS, its options}.
        resolution: Side of the training crops in pixels.
        facts: Plain values about the training, kept in the configuration.
        bits: Round kernels to so many significant bits, so that the file packs well; None keeps half precision's 11.
        gamma, highlight: See NightGenerator.
    Raises:
        ConfigError: Bits outside 1 to 11.
    """
    state = {k: round_bits(v.detach().cpu(), bits) for k, v in translator.state_dict().items()}
    stored = {k: v.half() if v.ndim > 1 else v for k, v in state.items()}
    model: dict[str, Any] = {
        "kind": "night",
        "translator": dict(options),
        "resolution": resolution,
        "facts": dict(facts or {}),
        "gamma": gamma,
        "highlight": highlight,
    }

    def describe(hashes: dict[str, str]) -> dict[str, Any]:
        return {"format": _FORMAT, "model": model, "sha256": hashes["generator"]}

    return write_folder(folder, {"generator": stored}, describe, metadata={"format": "pt"})


def load_night(place: str | Path) -> NightGenerator:
    """Read a generator that `save_night` wrote, or one that ships.

    Args:
        place: The folder, or a name such as "visgen-night-tiny".
    Raises:
        CheckpointError: A file is missing or torn, the weights are not those that the configuration names, or no
            generator of this name ships.
    """
    described, weights = _files(place)
    try:
        config = json.loads(described.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{place}' holds no readable config.json: {error}; use one of save_night.") from error
    if not isinstance(config, dict) or config.get("format") not in (_FORMAT, _FLAT_FORMAT):
        found = config.get("format") if isinstance(config, dict) else config
        raise CheckpointError(f"'{described}' has format {found!r}; this visgen reads {_FORMAT}.")
    if not weights.is_file() or hash_file(weights) != config["sha256"]:
        raise CheckpointError(f"'{weights}' is missing or not the file that its config.json names; save it again.")
    model = config if config["format"] == _FLAT_FORMAT else config["model"]
    options = dict(model["translator"])
    translator = TRANSLATORS.get(options.pop("name"))(**options)
    try:
        state = load_file(weights)
        translator.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{weights}' does not fit its config.json: {error}; save it again.") from error
    exposure = (model.get("gamma", 1.0), model.get("highlight", 1.0))
    return NightGenerator(translator, model["resolution"], config["sha256"], *exposure)


def _files(place: str | Path) -> tuple[Path, Path]:
    """Configuration and weights of a folder, or of a generator that ships under this name."""
    folder = Path(place)
    if not folder.is_dir() and folder.name == str(place):
        try:
            described = shipped_path(f"model_zoo/weights/{place}.json")
        except VisgenError as error:
            raise CheckpointError(
                f"'{place}' is neither a folder that save_night wrote nor a generator that ships, such as "
                f"{NIGHT_MODEL}."
            ) from error
        return described, described.with_suffix(".safetensors")
    return folder / "config.json", folder / "generator.safetensors"
