"""The class of a whole image: the true one, or a probability for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .ood import OODVerdict, read_verdict
from .validation import check_classes, check_tensor, dict_entry
from .value import register_value

__all__ = ["ClassLabel", "Classification"]

# Half-precision softmax over 1000 classes is off by up to 0.4 % in sum; logits miss by far more.
SUM_TOLERANCE = 0.01


@register_value
@dataclass(frozen=True, eq=False)
class ClassLabel:
    """The true class of an image: the target of classification.

    Args:
        label: Class id, 0..K-1.
        classes: The K class names.
    Raises:
        DataError: A field breaks these rules.
    """

    label: int
    classes: tuple[str, ...]

    type_name: ClassVar[str] = "class_label"

    def __post_init__(self) -> None:
        check_classes("ClassLabel", self.classes)
        if type(self.label) is not int:
            raise DataError(f"label of ClassLabel is a {type(self.label).__name__}; it must be an int; use int(label).")
        if not 0 <= self.label < len(self.classes):
            raise DataError(
                f"label {self.label} of ClassLabel is outside its {len(self.classes)} classes; labels must be 0..K-1."
            )

    @property
    def name(self) -> str:
        """The class name."""
        return self.classes[self.label]

    def to(self, device: torch.device | str) -> ClassLabel:
        """Give itself: a label holds no tensor."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores it exactly."""
        return {"type": self.type_name, "label": self.name, "label_id": self.label, "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ClassLabel:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing."""
        return cls(dict_entry("ClassLabel", data, "label_id"), tuple(dict_entry("ClassLabel", data, "classes")))

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the photograph with the class name below it."""
        from .drawing import draw_bars

        return draw_bars(image, [(self.name, None)], long_side)


@register_value
@dataclass(frozen=True, eq=False)
class Classification:
    """A probability for each class of an image: the prediction of classification.

    Args:
        probabilities: (K,) float32, each in [0, 1], summing to 1 (within 0.01, for softmax in half precision).
        classes: The K >= 1 class names.
        ood: Whether the image is unlike the training images, where the model can tell.
    Raises:
        DataError: A field breaks these rules.
    """

    probabilities: Tensor
    classes: tuple[str, ...]
    ood: OODVerdict | None = None

    type_name: ClassVar[str] = "classification"

    def __post_init__(self) -> None:
        check_classes("Classification", self.classes)
        if not self.classes:
            raise DataError("classes of Classification is empty; a classification needs at least one class name.")
        check_tensor("probabilities of Classification", self.probabilities, torch.float32, (len(self.classes),))
        low, high = (float(v) for v in self.probabilities.aminmax())
        total = float(self.probabilities.sum())
        if not (low >= 0 and high <= 1 + 1e-6 and abs(total - 1) <= SUM_TOLERANCE):
            raise DataError(
                f"probabilities of Classification lie in [{low:g}, {high:g}] and sum to {total:g}; they must lie in "
                "[0, 1] and sum to 1; apply softmax to logits."
            )

    @property
    def label_id(self) -> int:
        """The id of the most probable class."""
        return int(self.probabilities.argmax())

    @property
    def label(self) -> str:
        """The name of the most probable class."""
        return self.classes[self.label_id]

    @property
    def score(self) -> float:
        """The probability of the most probable class."""
        return float(self.probabilities.max())

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """Give the k most probable (class name, probability), best first; fewer when there are fewer classes."""
        if k < 1:
            raise DataError(f"k is {k}; Classification.top needs at least 1.")
        best = self.probabilities.topk(min(k, len(self.classes)))
        return [(self.classes[i], float(p)) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]

    def to(self, device: torch.device | str) -> Classification:
        """Give the same prediction on another device."""
        return Classification(
            self.probabilities.to(device), self.classes, None if self.ood is None else self.ood.to(device)
        )

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores every field bit for bit.

        "label", "label_id", "score" and "top" are for readers.
        """
        return {
            "type": self.type_name,
            "label": self.label,
            "label_id": self.label_id,
            "score": self.score,
            "top": [{"label": name, "score": p} for name, p in self.top(5)],
            "probabilities": self.probabilities.tolist(),
            "classes": list(self.classes),
            **({} if self.ood is None else {"ood": self.ood.to_dict()}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Classification:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing."""
        values = torch.tensor(dict_entry("Classification", data, "probabilities"), dtype=torch.float32)
        return cls(values, tuple(dict_entry("Classification", data, "classes")), read_verdict(data))

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the photograph with the five most probable classes as bars below it."""
        from .drawing import draw_bars

        return draw_bars(image, list(self.top(5)), long_side)
