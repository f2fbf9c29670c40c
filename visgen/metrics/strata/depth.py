"""Strata of depth: ranges of distance and light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..depth import align_depth
from .protocol import ALL, LIGHT, Part, Stratum, check_bounds, check_filled, light_strata
from .table import RatioTable

__all__ = ["RANGES", "DepthStrata"]

RANGES = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
"""Metres at which one range ends and the next begins."""


class DepthStrata:
    """AbsRel of the pixels within each range of true depth beside the mean over the other ranges, and AbsRel by light.

    The figure of the whole data set, and of light, is the mean over images of each image's AbsRel, as in DepthMetric;
    a range pools its pixels.

    Args:
        classes: Not used; depth has none.
        align: As in `align_depth`: "none" (metres are metres), "scale", "scale_shift" or "disparity".
        min_depth, max_depth: Metres; pixels outside never count.
        light: Mean luma below which a picture is dark, and from which it is bright.
    """

    def __init__(
        self,
        classes: Sequence[str] = (),
        *,
        align: str = "none",
        min_depth: float = 1e-3,
        max_depth: float | None = None,
        light: Sequence[float] = LIGHT,
    ) -> None:
        self.bounds = check_bounds(light)
        self.align, self.min_depth, self.max_depth = align, min_depth, max_depth
        self._error: list[Tensor] = []
        self._pixels: list[Tensor] = []
        self._light: list[Tensor] = []

    def update(self, predictions: Sequence[Any], targets: Sequence[Any], light: Tensor) -> None:
        """Add images; both sides hold `metres` (H, W). Images without a measured pixel are left out."""
        bounds = torch.tensor(RANGES[1:-1], dtype=torch.float64)
        for prediction, target, own in zip(predictions, targets, light.detach().cpu().double(), strict=True):
            true, answer = target.metres.cpu().double(), prediction.metres.detach().cpu().double()
            valid = true >= self.min_depth
            if self.max_depth is not None:
                valid &= true <= self.max_depth
            if not bool(valid.any()):
                continue
            true = true[valid]
            answer = align_depth(
                answer[valid],
                true,
                self.align,
                inverse=prediction.kind == "inverse",
                min_depth=self.min_depth,
                max_depth=self.max_depth,
            )
            place = torch.bucketize(true, bounds, right=True)
            self._error.append(torch.bincount(place, (answer - true).abs() / true, minlength=len(RANGES) - 1))
            self._pixels.append(torch.bincount(place, minlength=len(RANGES) - 1))
            self._light.append(own)

    def strata(self) -> list[Stratum]:
        """Give the strata; see StrataCollector."""
        check_filled(len(self._error), "depth")
        error, pixels = torch.stack(self._error), torch.stack(self._pixels)
        own = (error.sum(1) / pixels.sum(1))[:, None]
        whole, ranges = RatioTable(own, torch.ones_like(own)), RatioTable(error, pixels)
        images = len(own)
        found = [Stratum(ALL, ALL, "AbsRel", whole, Part((0,)), None, images, "images", images, False)]
        present = [r for r in range(len(RANGES) - 1) if int(pixels[:, r].sum())]
        for r in present if len(present) > 1 else ():
            name = f"{RANGES[r]:g} to {RANGES[r + 1]:g} m" if r < len(RANGES) - 2 else f"from {RANGES[r]:g} m"
            others = Part(tuple(i for i in present if i != r))
            count, held = int(pixels[:, r].sum()), int((pixels[:, r] > 0).sum())
            found.append(Stratum("depth", name, "AbsRel", ranges, Part((r,)), others, count, "pixels", held, False))
        return found + light_strata(
            whole, (0,), "AbsRel", torch.stack(self._light), self.bounds, higher_is_better=False
        )
