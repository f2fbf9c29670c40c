"""Checks at the door of the typed values: each names the argument, the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError

__all__ = [
    "check_classes",
    "check_labels",
    "check_probabilities",
    "check_scores",
    "check_size",
    "check_tensor",
    "dict_entry",
    "label_id",
    "span",
]

ROUNDING = 1e-5


def check_tensor(name: str, value: Any, dtype: torch.dtype, shape: tuple[int | str, ...]) -> None:
    """Raise DataError unless `value` is a tensor of this dtype and shape; a letter in `shape` stands for any length."""
    if not isinstance(value, Tensor):
        raise DataError(f"{name} is a {type(value).__name__}; it must be a torch tensor; use torch.as_tensor(...).")
    fits = value.ndim == len(shape) and all(
        isinstance(want, str) or have == want for have, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(n) for n in shape)
        raise DataError(f"{name} has shape {tuple(value.shape)}; it must be ({wanted}).")
    if value.dtype != dtype:
        raise DataError(f"{name} has dtype {value.dtype}; it must be {dtype}; convert with .to({dtype}).")


def check_classes(owner: str, classes: Any) -> None:
    """Raise DataError unless `classes` is a tuple of strings."""
    if not isinstance(classes, tuple):
        raise DataError(
            f"classes of {owner} is a {type(classes).__name__}; it must be a tuple of names; use tuple(classes)."
        )
    wrong = _first_non_string(classes)
    if wrong is not None:
        raise DataError(f"classes of {owner} holds {wrong[0]!r}; every class name must be a string.")


@lru_cache(maxsize=64)
def _first_non_string(classes: tuple[Any, ...]) -> tuple[Any] | None:
    return next(((name,) for name in classes if not isinstance(name, str)), None)


def check_labels(owner: str, labels: Any, count: int, classes: tuple[str, ...]) -> None:
    """Raise DataError unless `labels` is (count,) int64 with every value in 0..K-1."""
    check_tensor(f"labels of {owner}", labels, torch.int64, (count,))
    if count == 0:
        return
    low, high = span(labels)
    if low < 0 or high >= len(classes):
        wrong = low if low < 0 else high
        raise DataError(f"label {wrong} of {owner} is outside its {len(classes)} classes; labels must be 0..K-1.")


def check_scores(owner: str, scores: Any, count: int) -> None:
    """Raise DataError unless `scores` is (count,) float32 in [0, 1]."""
    check_tensor(f"scores of {owner}", scores, torch.float32, (count,))
    check_probabilities(f"score of {owner}", scores)


def check_probabilities(name: str, values: Tensor) -> None:
    """Raise DataError unless every value lies in [0, 1], give or take the rounding of a softmax or a resize."""
    low, high = span(values)
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # NaN fails both comparisons
        wrong = float(values[~((values >= -ROUNDING) & (values <= 1 + ROUNDING))][0])
        raise DataError(f"{name} is {wrong:g}, outside [0, 1]; pass probabilities, not logits.")


def span(values: Tensor) -> tuple[float, float]:
    """Give the least and the largest value, NaN where one is among them; (0, 0) of none."""
    if not values.numel():
        return 0, 0
    low, high = values.aminmax()
    return low.item(), high.item()


def check_size(owner: str, size: Any) -> None:
    """Raise DataError unless `size` is (height, width), both positive ints."""
    good = isinstance(size, tuple) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
    if not good:
        raise DataError(f"size of {owner} is {size!r}; it must be a tuple (height, width) of positive ints.")


def label_id(name: str, classes: tuple[str, ...]) -> int:
    """Give the id of class `name`; raises DataError when the label set lacks it."""
    if name not in classes:
        raise DataError(f"class '{name}' is not one of the {len(classes)} classes of this value.")
    return classes.index(name)


def dict_entry(owner: str, data: Any, key: str) -> Any:
    """Give `data[key]`; raises DataError when the dictionary is no dictionary or lacks the key."""
    if not isinstance(data, Mapping):
        raise DataError(f"{owner} is read from a dictionary, not from a {type(data).__name__}.")
    if key not in data:
        raise DataError(f"the dictionary of {owner} lacks '{key}'; it holds {', '.join(map(str, data)) or 'nothing'}.")
    return data[key]
