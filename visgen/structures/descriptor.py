"""A picture as one vector, such that pictures of one place or thing lie close together; and the place as a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .validation import check_tensor, dict_entry
from .value import register_value

__all__ = ["Descriptor", "PlaceLabel"]

# Half precision gives vectors whose length is off by a few parts in a thousand.
LENGTH_TOLERANCE = 0.01


@register_value
@dataclass(frozen=True, eq=False)
class PlaceLabel:
    """The place (or the thing) that a picture shows: the target of retrieval.

    Args:
        place: Name of the place; pictures with equal names belong together, and no list of all places is needed.
        time: Condition of the picture, such as "day" or "night"; "" where none is told.
        is_junk: Neither right nor wrong as an answer; it is taken out of a ranking before that is scored.
    Raises:
        DataError: A field breaks these rules.
    """

    place: str
    time: str = ""
    is_junk: bool = False

    type_name: ClassVar[str] = "place_label"

    def __post_init__(self) -> None:
        if not isinstance(self.place, str) or not self.place or not isinstance(self.time, str):
            raise DataError(
                f"PlaceLabel has place {self.place!r} and time {self.time!r}; both are strings, the place not empty."
            )

    @property
    def name(self) -> str:
        """Place and time as one text."""
        return f"{self.place} ({self.time})" if self.time else self.place

    def to(self, device: torch.device | str) -> PlaceLabel:
        """Give itself: a label holds no tensor."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores it exactly."""
        return {"type": self.type_name, "place": self.place, "time": self.time, "is_junk": self.is_junk}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PlaceLabel:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing."""
        place, time, junk = (dict_entry("PlaceLabel", data, key) for key in ("place", "time", "is_junk"))
        return cls(place, time, bool(junk))

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the photograph with the place below it."""
        from .drawing import draw_bars

        return draw_bars(image, [(self.name, None)], long_side)


@register_value
@dataclass(frozen=True, eq=False)
class Descriptor:
    """A vector of length 1: the answer of retrieval. The dot product of two says how alike their pictures are.

    Args:
        vector: (D,) float32.
    Raises:
        DataError: Another shape or type, or a length that is not 1 (within 0.01, for half precision).
    """

    vector: Tensor

    type_name: ClassVar[str] = "descriptor"

    def __post_init__(self) -> None:
        check_tensor("vector of Descriptor", self.vector, torch.float32, ("D",))
        length = float(self.vector.norm()) if self.vector.numel() else 0.0
        if not abs(length - 1) <= LENGTH_TOLERANCE:
            raise DataError(f"vector of Descriptor has length {length:g}; it must be 1: divide it by its norm.")

    def similarity(self, other: Descriptor) -> float:
        """Give the dot product with another descriptor, -1..1.

        Raises:
            DataError: The other one has another number of dimensions.
        """
        if self.vector.shape != other.vector.shape:
            raise DataError(
                f"descriptors of {len(self.vector)} and {len(other.vector)} dimensions came together; compare "
                "descriptors of one head."
            )
        return float(self.vector @ other.vector)

    def to(self, device: torch.device | str) -> Descriptor:
        """Give the same descriptor on another device."""
        return Descriptor(self.vector.to(device))

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores it bit for bit."""
        return {"type": self.type_name, "vector": self.vector.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Descriptor:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing."""
        return cls(torch.tensor(dict_entry("Descriptor", data, "vector"), dtype=torch.float32))

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the photograph with the five strongest dimensions as bars below it."""
        from .drawing import draw_bars

        size = self.vector.abs()
        strongest = size.topk(min(5, len(size))).indices.tolist()
        return draw_bars(image, [(f"dimension {i}", float(size[i].clamp(max=1))) for i in strongest], long_side)
