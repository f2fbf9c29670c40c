"""What every typed value offers, and the registry that reads one back from its dictionary."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

from PIL import Image

from ..errors import DataError
from ..registry import Registry
from .validation import dict_entry

__all__ = ["VALUES", "Value", "register_value", "value_from_dict"]


@runtime_checkable
class Value(Protocol):
    """An answer or a target of one task for one image: immutable, checked when it is made, JSON-able and drawable."""

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary whose "type" is the value's name in `VALUES`."""

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the value over its photograph, with its legend below.

        Args:
            image: The photograph the value belongs to: uint8 (H, W, 3), or anything that `load_image` reads. None draws
                on plain grey (a classification: the bars alone).
            long_side: At most this many pixels for the longer side of the photograph; None means 2048. Photographs
                under 512 pixels are enlarged by a whole number, so that text stays readable.
        Returns:
            An RGB picture; `numpy.asarray` gives uint8 (h, w, 3).
        Raises:
            DataError: The photograph has another size than the value.
            ImageError: The photograph cannot be read.
        """


VALUES: Registry[Any] = Registry(
    "typed value", "A frozen dataclass with to_dict, from_dict and draw; to_dict()['type'] is its registered name."
)

V = TypeVar("V")


def register_value(cls: type[V]) -> type[V]:
    """Decorate a value class: its class attribute `type_name` becomes its name in `VALUES`."""
    VALUES.register(cls.type_name)(cls)  # type: ignore[attr-defined]
    return cls


def value_from_dict(data: Any) -> Any:
    """Rebuild a typed value from what its `to_dict` gave.

    Raises:
        DataError: It is not a dictionary, a key is missing, or a field holds something else than `to_dict` writes.
        UnknownName: Its "type" names no known value.
    """
    kind = dict_entry("a typed value", data, "type")
    if not isinstance(kind, str):
        raise DataError(f"the 'type' of a typed value is {kind!r}; it must be one of {', '.join(VALUES)}.")
    reader = VALUES.get(kind).from_dict
    try:
        return reader(data)
    except DataError:
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"the dictionary of '{kind}' is broken: {error}; it must come from its to_dict.") from error
