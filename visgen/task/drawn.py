"""An instruction model seen as a model with heads, so that drawn answers are measured as those of any head are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..diffusion import InstructDiffusion
from ..diffusion.answers import codec_settings
from ..diffusion.codec import Letterbox, codec_for, passes
from ..errors import ConfigError, UnknownName, nearest
from ..language import TaskRequest
from ..language.phrases import canonical
from ..structures import SemanticMap
from .protocol import HeadSpec

__all__ = ["DrawnModel"]

_AT_A_TIME = 16  # pictures drawn together


class DrawnModel:
    """Answers of segmentation and depth heads, drawn: one picture per class, each pixel to the brightest of them.

    Args:
        model: The instruction model.
        specs: Head name to its task and classes. A class that the model was never taught is asked for all the same.
        seed: Of the noise, where it is drawn in several steps.
    Raises:
        ConfigError: A head of another task.
    """

    def __init__(self, model: InstructDiffusion, specs: Mapping[str, HeadSpec], seed: int = 0) -> None:
        for name, spec in specs.items():
            if spec.task not in ("segmentation", "depth"):
                raise ConfigError(f"head '{name}' is of task '{spec.task}'; drawn heads are of segmentation and depth.")
        self.model, self._specs, self.seed = model, dict(specs), seed

    @property
    def specs(self) -> Mapping[str, HeadSpec]:
        """Head name to its task and classes."""
        return self._specs

    def resolve(self, name: str) -> str:
        """Give the head that a task key or head name means."""
        found = [head for head, spec in self._specs.items() if name in (head, spec.task)]
        if not found:
            raise UnknownName(
                f"head '{name}' is not drawn{nearest(name, self._specs)} Heads: {', '.join(self._specs)}."
            )
        return found[0]

    def head(self, name: str) -> Any:
        """There is no module behind a drawn head."""
        return None

    def below(self, name: str) -> str | None:
        """A drawn head stands on no other."""
        return None

    def predict(self, images: Tensor, heads: Sequence[str], *, sizes: Any = None, given: Any = None) -> dict[str, Any]:
        """Give one typed value per image (B, 3, H, W) in [0, 1] for each head, of the given sizes."""
        wanted = [tuple(image.shape[1:]) for image in images] if sizes is None else list(sizes)
        return {
            name: [self._answer(image, self._specs[name], size) for image, size in zip(images, wanted, strict=True)]
            for name in heads
        }

    def _answer(self, image: Tensor, spec: HeadSpec, size: tuple[int, int]) -> Any:
        side = self.model.config.size
        own = (int(image.shape[1]), int(image.shape[2]))
        canvas = Letterbox.fit(own, (side, side)).place_image(image) * 2 - 1
        if spec.task == "depth":
            requests = [TaskRequest("depth")]
        else:
            requests = [part for name in spec.classes for part in passes(TaskRequest("segmentation", (name,)))]
        sampling = self.model.config.sampling_of(spec.task)
        pictures: list[Tensor] = []
        for start in range(0, len(requests), _AT_A_TIME):
            texts = [canonical(request) for request in requests[start : start + _AT_A_TIME]]
            pictures += list(self.model.answer(canvas[None], texts, sampling, [self.seed] * len(texts)))
        settings = codec_settings(self.model)
        if spec.task == "depth":
            return codec_for(requests[0], settings).decode(pictures[0], requests[0], size)
        box = Letterbox.fit(size, (side, side))
        odds = torch.cat([box.undo((picture.mean(dim=0, keepdim=True).cpu() + 1) / 2) for picture in pictures])
        best, ids = odds.max(dim=0)
        return SemanticMap(ids, tuple(spec.classes), best.clamp(0, 1))
