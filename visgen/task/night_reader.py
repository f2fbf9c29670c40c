"""A segmenter that was taught on labelled nights, to tell whether made ones can be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, VisgenError
from .build import build_model

__all__ = ["NightReader"]


class NightReader(nn.Module):
    """Logits of a trained model's semantic head for pictures in [-1, 1]; the model stays as it is.

    Args:
        folder: What a run with a semantic head leaves (`last`): `config.json` and `model.safetensors`.
        classes: Of the maps; the head must have the same.
    Raises:
        CheckpointError: The folder holds no such model.
        ConfigError: It has no semantic head, or one of other classes.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str]) -> None:
        super().__init__()
        place = Path(folder)
        try:  # by hand, since `load_model` of visgen.zoo lies above this layer
            config = json.loads((place / "config.json").read_text(encoding="utf-8"))["model"]
            model = build_model(config, load_weights=False)
            model.load_state_dict(load_file(place / "model.safetensors"))
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, VisgenError) as error:
            raise CheckpointError(
                f"night_readers has '{folder}', which holds no model ({type(error).__name__}: {error}); give "
                "the folder `last` of a run with a semantic head."
            ) from error
        if "segmentation" not in model.default_heads:
            raise ConfigError(f"reader '{folder}' has no head of task 'segmentation'; give a model that has one.")
        self.head = model.default_heads["segmentation"]
        known = tuple(model.specs[self.head].classes)
        if known != tuple(classes):
            raise ConfigError(
                f"reader '{folder}' knows {', '.join(known)}, and the maps have {', '.join(classes) or 'none'}; "
                "teach one on maps of the same classes in the same order."
            )
        self.model = model.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> NightReader:
        """Stay in evaluation mode."""
        super().train(False)
        return self

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, classes, h, w) for pictures (B, 3, H, W) in [-1, 1]."""
        logits: Tensor = self.model((pictures + 1) / 2, self.head)[0]
        return logits
