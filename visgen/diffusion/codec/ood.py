"""OOD scores as grey: bright is out of distribution."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import DataError
from ...language import TaskRequest
from ...structures import Masks, OODLabel, OODVerdict
from .letterbox import Letterbox
from .protocol import Codec, Size

__all__ = ["ScoreMap"]

TOP = 0.01  # share of the brightest pixels whose mean is the score of the image
NOISE = 0.01  # as in the depth codec: channels of a clean grey agree


class ScoreMap(Codec):
    """Grey that rises with the score; where `ood_levels` are set, it is the share of them below the score.

    The value is an OODVerdict with a map, Masks of what does not belong, or an OODLabel, which fills the picture.
    Decoding gives an OODVerdict in shades: its map, and the mean of its brightest 1 % as the score of the image.
    """

    name = "ood.map"
    task = "ood"
    tolerance: ClassVar[dict[str, float]] = {"clean8": 1 / 255, "n16": 0.95}

    def shade(self, scores: Tensor) -> Tensor:
        """Scores of any shape to shades in [0, 1]."""
        levels = self.settings.ood_levels
        if not levels:
            return scores.clamp(0, 1)
        return torch.bucketize(scores, torch.tensor(levels, dtype=scores.dtype)).to(torch.float32) / len(levels)

    def threshold_shade(self, threshold: float) -> float:
        """The shade of a threshold on the score."""
        levels = self.settings.ood_levels
        return bisect_left(levels, threshold) / len(levels) if levels else min(1.0, max(0.0, threshold))

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        if isinstance(value, OODLabel):
            return torch.full((3, *size), float(value.is_ood))
        if isinstance(value, Masks):
            shade, source = value.masks.any(dim=0).to(torch.float32), value.size
        elif isinstance(value, OODVerdict) and value.map is not None:
            shade, source = self.shade(value.map.cpu()), (int(value.map.shape[0]), int(value.map.shape[1]))
        else:
            kind = "an OODVerdict without a map" if isinstance(value, OODVerdict) else f"a {type(value).__name__}"
            raise DataError(f"codec {self.name} draws an OODLabel, Masks or an OODVerdict with a map, not {kind}.")
        return Letterbox.fit(source, size).place_map(shade[None]).expand(3, -1, -1).clone()

    def valid(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        if isinstance(value, OODVerdict) and value.map is not None:
            return Letterbox.fit((int(value.map.shape[0]), int(value.map.shape[1])), size).region()
        return super().valid(value, request, size)

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> OODVerdict:
        grey = picture.mean(dim=0, keepdim=True)
        if float(picture.std(dim=0).mean()) > NOISE:
            grey = torch.nn.functional.avg_pool2d(grey[None], 3, 1, 1, count_include_pad=False)[0]
        shade = Letterbox.fit(size, (int(picture.shape[1]), int(picture.shape[2]))).undo(grey)[0].clamp(0, 1)
        top = shade.flatten().topk(max(1, round(TOP * shade.numel()))).values.mean()
        return OODVerdict(float(top), score_name=self.name, map=shade.contiguous())
