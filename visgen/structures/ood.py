"""Whether an image is unlike what a model was trained on: the truth, or a score with its threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .canvas import short_number
from .png import from_base64, to_base64
from .validation import check_tensor, dict_entry
from .value import register_value

__all__ = ["OODLabel", "OODVerdict", "read_verdict"]


@register_value
@dataclass(frozen=True, eq=False)
class OODLabel:
    """Whether an image is truly out of distribution: the target of OOD detection.

    Args:
        is_ood: True for an image unlike the training images.
    Raises:
        DataError: It is not a bool.
    """

    is_ood: bool

    type_name: ClassVar[str] = "ood_label"

    def __post_init__(self) -> None:
        if type(self.is_ood) is not bool:
            raise DataError(f"is_ood of OODLabel is {self.is_ood!r}; it must be True or False; use bool(is_ood).")

    @property
    def name(self) -> str:
        """The answer in a word: "unusual" or "familiar"."""
        return "unusual" if self.is_ood else "familiar"

    def to(self, device: torch.device | str) -> OODLabel:
        """Give itself: a label holds no tensor."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores it exactly."""
        return {"type": self.type_name, "is_ood": self.is_ood}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OODLabel:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing."""
        return cls(dict_entry("OODLabel", data, "is_ood"))

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the photograph with the word below it."""
        from .drawing import draw_bars

        return draw_bars(image, [(self.name, None)], long_side)


@register_value
@dataclass(frozen=True, eq=False)
class OODVerdict:
    """How unlike the training images an image is: the prediction of OOD detection.

    Args:
        score: Higher is more out of distribution; only comparable with scores of the same model.
        threshold: Scores above it count as out of distribution; None when it was never calibrated.
        keeps: Share of in-distribution images that the threshold was set to keep, above 0 and at most 1; None when
            not known.
        score_name: Which score it is, such as "max_logit_mahalanobis".
        map: Score of each pixel (H, W) float32, or of each cell of a coarser grid over the picture, where there is one.
        percentile: Share of familiar validation images that score lower, in [0, 1]; None when not known.
        nearest: The training classes that the image comes nearest to, nearest first, each with its distance in the
            measure of the score.
    Raises:
        DataError: A field breaks these rules.
    """

    score: float
    threshold: float | None = None
    keeps: float | None = None
    score_name: str = ""
    map: Tensor | None = None
    percentile: float | None = None
    nearest: tuple[tuple[str, float], ...] = ()

    type_name: ClassVar[str] = "ood_verdict"

    def __post_init__(self) -> None:
        fields = ("score", "threshold", "keeps", "percentile")
        for name, value in ((name, getattr(self, name)) for name in fields):
            if value is None and name != "score":
                continue
            if type(value) is not float or not math.isfinite(value):
                raise DataError(f"{name} of OODVerdict is {value!r}; it must be a finite float; use float({name}).")
        if self.keeps is not None and not 0 < self.keeps <= 1:
            raise DataError(f"keeps of OODVerdict is {self.keeps:g}; it is a share, above 0 and at most 1.")
        if self.percentile is not None and not 0 <= self.percentile <= 1:
            raise DataError(f"percentile of OODVerdict is {self.percentile:g}; it is a share, from 0 to 1.")
        for row in self.nearest:
            if len(row) != 2 or not isinstance(row[0], str) or not math.isfinite(row[1]):
                raise DataError(f"nearest of OODVerdict holds {row!r}; it lists (class name, finite distance).")
        if not isinstance(self.score_name, str):
            raise DataError(f"score_name of OODVerdict is {self.score_name!r}; it must be a string.")
        if self.map is not None:
            check_tensor("map of OODVerdict", self.map, torch.float32, ("H", "W"))
            if not bool(self.map.isfinite().all()):
                raise DataError("map of OODVerdict holds NaN or infinity; every pixel needs a finite score.")

    @property
    def is_ood(self) -> bool | None:
        """Whether the score is above the threshold; None without one."""
        return None if self.threshold is None else self.score > self.threshold

    @property
    def name(self) -> str:
        """The answer in a word: "unusual", "familiar", or "undecided" without a threshold."""
        return {True: "unusual", False: "familiar", None: "undecided"}[self.is_ood]

    def to(self, device: torch.device | str) -> OODVerdict:
        """Give the same verdict on another device."""
        return self if self.map is None else replace(self, map=self.map.to(device))

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores every field bit for bit (on the CPU).

        "is_ood" is for readers. The map is base64 of its rows, float32 with the lowest byte first.
        """
        cells = None if self.map is None else self.map.cpu().contiguous().numpy().astype("<f4").tobytes()
        return {
            "type": self.type_name,
            "score": self.score,
            "threshold": self.threshold,
            "is_ood": self.is_ood,
            "keeps": self.keeps,
            "score_name": self.score_name,
            "percentile": self.percentile,
            "nearest": [{"label": name, "distance": distance} for name, distance in self.nearest],
            "map_size": None if self.map is None else list(self.map.shape),
            "map_float32": None if cells is None else to_base64(cells),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OODVerdict:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing or the map is torn."""
        text, size = data.get("map_float32"), data.get("map_size")
        cells = None
        if text is not None:
            raw = from_base64(text, "map_float32")
            if size is None or len(raw) != 4 * size[0] * size[1]:
                raise DataError(f"map_float32 holds {len(raw)} bytes but map_size is {size}; it takes 4 per pixel.")
            cells = torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32).reshape(size))
        number = lambda key: None if data.get(key) is None else float(data[key])  # noqa: E731
        score = float(dict_entry("OODVerdict", data, "score"))
        rows = data.get("nearest") or ()
        nearest = tuple((dict_entry("a class", row, "label"), float(row["distance"])) for row in rows)
        name = data.get("score_name", "")
        return cls(score, number("threshold"), number("keeps"), name, cells, number("percentile"), nearest)

    @property
    def outranked(self) -> str:
        """The familiar pictures that score lower, in words; "" where no percentile is known."""
        if self.percentile is None:
            return ""
        return (
            "every familiar picture"
            if self.percentile == 1
            else f"{min(99, round(100 * self.percentile))} % of familiar pictures"
        )

    def explain(self) -> str:
        """Give the verdict in plain sentences: score, threshold, percentile, nearest classes."""
        if self.threshold is None:
            parts = [f"Undecided: score {short_number(self.score)}, and no threshold was set."]
        else:
            side = "above" if self.is_ood else "not above"
            kept = "" if self.keeps is None else f", which keeps {100 * self.keeps:g} % of familiar pictures"
            parts = [
                f"{self.name.capitalize()}: score {short_number(self.score)} is {side} the threshold "
                f"{short_number(self.threshold)}{kept}."
            ]
        if self.percentile is not None:
            parts.append(f"It is higher than that of {self.outranked}.")
        if self.nearest:
            parts.append(f"Nearest classes: {', '.join(name for name, _ in self.nearest)}.")
        return " ".join(parts)

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the photograph with the score on its scale below it, and the map over it where there is one."""
        from .drawing import draw_verdict

        return draw_verdict(image, self, long_side)


def read_verdict(data: Mapping[str, Any]) -> OODVerdict | None:
    """Give the verdict that the dictionary of another answer carries under "ood"; None where it has none."""
    held = data.get("ood")
    return None if held is None else OODVerdict.from_dict(held)
