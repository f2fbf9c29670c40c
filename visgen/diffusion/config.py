"""Settings of an instruction-following diffusion model that its networks' own configurations do not hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ConfigError, nearest
from ..options import build_options, show_value

__all__ = ["CHANNEL_ORDERS", "CONFIG_FILE", "FAST", "DiffusionConfig", "Sampling", "read_diffusion_config"]

CHANNEL_ORDERS = ("noisy_image", "image_noisy")
CONFIG_FILE = "visgen.json"


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn.

    Attributes:
        steps: Denoising steps. 1 starts from zeros at the last timestep and takes the clean latents that the network
            predicts: no chance is in it, and it is the mode that training with the one-step loss serves. More steps
            start from noise.
        text_scale, image_scale: The two scales of guidance, any numbers; 1 and 1 guide nothing and cost one pass.
    Raises:
        ConfigError: Not a whole number of steps from 1 on, or a scale that is no finite number.
    """

    steps: int = 1
    text_scale: float = 1.0
    image_scale: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.steps, Integral) or self.steps < 1:
            raise ConfigError(f"steps is {self.steps}; a picture takes a whole number of denoising steps, at least 1.")
        for name, scale in (("text_scale", self.text_scale), ("image_scale", self.image_scale)):
            if not isinstance(scale, Real) or not math.isfinite(scale):
                raise ConfigError(f"{name} is {scale}; it must be a finite number, and 1 guides nothing.")


FAST = Sampling()
"""One pass without noise and without guidance."""


@dataclass(frozen=True)
class DiffusionConfig:
    """What the networks' configurations do not say.

    Attributes:
        size: Side in pixels of the square canvas that pictures are letterboxed to.
        channel_order: Where the image latents stand in the denoiser's input: "noisy_image" in the family of
            InstructPix2Pix, "image_noisy" in that of Marigold.
        image_latents_scaled: Whether the image latents are multiplied by the VAE's scaling factor, as in Marigold;
            InstructPix2Pix feeds them as the encoder gives them.
        one_step: Whether the network was trained for one step without noise.
        sampling: Task key to how its answers are drawn; a task that is not named takes "default", else one step where
            `one_step` says so, else 20 steps.
        classes: Task key to the class names that training showed; empty where any word may be tried.
        codec: Fields of `visgen.diffusion.codec.CodecSettings` that the answers are drawn with.
        details: Facts about the training, for people.
    Raises:
        ConfigError: A side below 32, an order that is not known, or what is no mapping, or no list of names, where one
            belongs.
    """

    size: int = 512
    channel_order: str = "noisy_image"
    image_latents_scaled: bool = False
    one_step: bool = False
    sampling: Mapping[str, Sampling] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    codec: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size < 32:
            raise ConfigError(f"size is {self.size}; the canvas has a side of at least 32 pixels.")
        if self.channel_order not in CHANNEL_ORDERS:
            raise ConfigError(
                f"channel_order is '{self.channel_order}'{nearest(self.channel_order, CHANNEL_ORDERS)} "
                f"Use one of {', '.join(CHANNEL_ORDERS)}."
            )
        for name in ("sampling", "classes", "codec", "details"):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigError(f"{name} is {show_value(getattr(self, name))}; it must be a mapping.")
        for task, names in self.classes.items():
            if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
                raise ConfigError(f"classes: {task} is {show_value(names)}; it must be a list of class names.")
        given = {k: s if isinstance(s, Sampling) else build_options(Sampling, s, "sampling") for k, s in
                 self.sampling.items()}  # fmt: skip
        object.__setattr__(self, "sampling", given)
        object.__setattr__(self, "classes", {k: tuple(v) for k, v in self.classes.items()})

    def sampling_of(self, task: str, **changes: Any) -> Sampling:
        """Give how answers of a task are drawn; `changes` that are not None replace single values."""
        usual = FAST if self.one_step else Sampling(20, 7.5, 1.5)
        chosen = self.sampling.get(task, self.sampling.get("default", usual))
        return replace(chosen, **{k: v for k, v in changes.items() if v is not None})

    def to_dict(self) -> dict[str, Any]:
        """Give plain JSON-able values; `DiffusionConfig(**values)` restores them."""
        return json.loads(json.dumps(asdict(self)))


def read_diffusion_config(folder: Path) -> DiffusionConfig | None:
    """Read the settings that `InstructDiffusion.save_pretrained` left in a folder; None when it left none.

    Raises:
        CheckpointError: The file is not what was written.
    """
    file = folder / CONFIG_FILE
    if not file.is_file():
        return None
    try:
        return build_options(DiffusionConfig, json.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(f"'{file}' cannot be read: {error}; save the model again.") from error
