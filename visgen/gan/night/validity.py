"""Do the labels of the day still hold by night? Edges that stayed, edges that were lost, edges that were invented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from ...errors import DataError
from .edges import canny, log_luminance
from .stability import phase_shift

__all__ = ["Agreement", "EdgeValidity", "box_contrast", "darkened", "edge_agreement"]

TOLERANCE = 2 / 362  # of the longer side: two pixels at the size of the source's pictures
SHARE = 0.6  # of the way from floor to ceiling that a valid generator reaches at least


@dataclass(frozen=True)
class Agreement:
    """How two edge maps meet, as pixel counts; add them up over pictures.

    Attributes:
        right: Edge pixels by night that lie near an edge by day, out of `drawn`.
        found: Edge pixels by day that lie near an edge by night, out of `present`.
    """

    right: int = 0
    drawn: int = 0
    found: int = 0
    present: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        pairs = zip(self._counts(), other._counts(), strict=True)
        return Agreement(*(a + b for a, b in pairs))

    def _counts(self) -> tuple[int, int, int, int]:
        return self.right, self.drawn, self.found, self.present

    def figures(self) -> dict[str, float]:
        """Give precision (1 - share of invented edges), recall (1 - share of lost edges) and F, their harmonic mean."""
        precision = self.right / self.drawn if self.drawn else 1.0
        recall = self.found / self.present if self.present else 1.0
        both = precision + recall
        return {"F": 2 * precision * recall / both if both else 0.0, "precision": precision, "recall": recall}


def edge_agreement(day: Tensor, night: Tensor, tolerance: float = TOLERANCE) -> Agreement:
    """Count the edge pixels of two maps that lie within a tolerance of each other.

    Args:
        day, night: (H, W) bool.
        tolerance: Distance in units of the longer side; one pixel is the least, which is as finely as lines are drawn.
    """
    if day.shape != night.shape or day.ndim != 2 or day.dtype != torch.bool or night.dtype != torch.bool:
        raise DataError(
            f"edge maps are {tuple(day.shape)} {day.dtype} and {tuple(night.shape)} {night.dtype}; give two bool maps "
            "(H, W) of one size."
        )
    reach = max(1.0, tolerance * max(day.shape))
    a, b = day.numpy(), night.numpy()
    return Agreement(int((b & _near(a, reach)).sum()), int(b.sum()), int((a & _near(b, reach)).sum()), int(a.sum()))


def _near(edges: np.ndarray, reach: float) -> np.ndarray:
    if not edges.any():
        return np.zeros_like(edges)
    near: np.ndarray = distance_transform_edt(~edges) <= reach
    return near


def darkened(image: Tensor, generator: torch.Generator, gamma: float = 2.2, noise: float = 2 / 255) -> Tensor:
    """The picture (3, H, W) in [0, 1] by a power law and Gaussian noise, rounded to 8 bits: dark, and nothing moved."""
    dark = image**gamma + noise * torch.randn(image.shape, generator=generator)
    return (dark * 255).round().clamp(0, 255) / 255


def box_contrast(image: Tensor, boxes: Tensor) -> Tensor:
    """Standard deviation of the log-luminance inside each box.

    Args:
        image: (3, H, W) in [0, 1].
        boxes: (N, 4) corners x1, y1, x2, y2 in pixels.
    Returns:
        (N,); 0 for a box outside the picture.
    """
    light = log_luminance(image[None])[0, 0]
    found = torch.zeros(len(boxes))
    for i, (x1, y1, x2, y2) in enumerate(boxes.round().long().tolist()):
        part = light[max(y1, 0) : max(y2, y1 + 1, 0), max(x1, 0) : max(x2, x1 + 1, 0)]
        if part.numel():
            found[i] = part.std(correction=0)
    return found


@dataclass
class EdgeValidity:
    """Edge figures of a generator between a floor and a ceiling, by a detector that no generator is trained against.

    The floor is what edges of another translated picture reach by chance; the ceiling is what is left after the
    picture was merely darkened (`darkened`). Labels count as valid when F reaches 60 % of the way from floor to
    ceiling, and precision and recall each lie above the floor.

    Args:
        detect: Image (3, H, W) in [0, 1] to edges (H, W) bool.
        tolerance: Distance in units of the longer side.
        seed: Of the noise in the ceiling.
    """

    detect: Callable[[Tensor], Tensor] = canny
    tolerance: float = TOLERANCE
    seed: int = 0
    _counts: dict[str, Agreement] = field(default_factory=dict)
    _images: int = 0
    _below: int = 0
    _aligned: int = 0

    def update(self, day: Tensor, night: Tensor, other: Tensor) -> None:
        """Add a picture.

        Args:
            day: (3, H, W) in [0, 1].
            night: Its translation, of the same size.
            other: Translation of a picture of something else, any size; resized to that of `day`.
        """
        if day.shape != night.shape:
            raise DataError(f"day is {tuple(day.shape)} and its night {tuple(night.shape)}; they must be equal.")
        random = torch.Generator().manual_seed(self.seed + self._images)
        strange = resize(other, list(day.shape[1:]), antialias=True).clamp(0, 1)
        edges = self.detect(day)
        shown = {"generator": night, "floor": strange, "ceiling": darkened(day, random)}
        maps = {name: self.detect(image) for name, image in shown.items()}
        found = {name: edge_agreement(edges, seen, self.tolerance) for name, seen in maps.items()}
        for name, counts in found.items():
            self._counts[name] = self._counts.get(name, Agreement()) + counts
        self._images += 1
        self._below += found["generator"].figures()["F"] <= found["floor"].figures()["F"]
        moved = phase_shift(edges.float(), maps["generator"].float())
        self._aligned += max(abs(v) for v in moved) <= 0.5

    def compute(self) -> dict[str, Any]:
        """Give figures of "generator", "floor" and "ceiling", the F that is asked for, and whether it is reached.

        "below_floor" is the share of pictures whose own F is no better than the floor's, "aligned" the share whose
        edges lie where they lay (phase correlation peaks within half a pixel of no shift).
        """
        if not self._images:
            raise DataError("no picture was added to the edge validity; add some.")
        found: dict[str, Any] = {name: counts.figures() for name, counts in self._counts.items()}
        own, floor, ceiling = found["generator"], found["floor"], found["ceiling"]
        wanted = floor["F"] + SHARE * (ceiling["F"] - floor["F"])
        above = own["precision"] > floor["precision"] and own["recall"] > floor["recall"]
        return {
            **found,
            "wanted": wanted,
            "valid": bool(own["F"] >= wanted and above),
            "below_floor": self._below / self._images,
            "aligned": self._aligned / self._images,
            "images": self._images,
        }
