"""The registry of transforms, their composition, and the random numbers they draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from ...errors import ConfigError
from ...options import call_with
from ...registry import Registry
from ..sample import Sample

__all__ = ["TRANSFORMS", "Compose", "Transform", "build_transform", "chance", "check_range", "integer", "uniform"]


class Transform(Protocol):
    """Takes a sample, gives a new one; all randomness comes from the generator, nothing is changed in place."""

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample: ...


TRANSFORMS: Registry[type[Transform]] = Registry(
    "transform", "A frozen dataclass whose fields are its options, called as (sample, generator) -> Sample."
)


class Compose:
    """Transforms one after the other, all drawing from the same generator.

    Args:
        steps: Any transforms; none leaves samples as they are.
    """

    def __init__(self, steps: Sequence[Transform]) -> None:
        self.steps = tuple(steps)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, generator)
        return sample

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.steps))})"


def build_transform(items: Sequence[Mapping[str, Any] | str]) -> Compose:
    """Build what a YAML lists, such as `[{name: resize, size: 256}, {name: horizontal_flip}]`.

    Raises:
        UnknownName: No such transform.
        ConfigError: An option it does not have, or a value it does not take.
    """
    steps = []
    for item in items:
        options = {"name": item} if isinstance(item, str) else dict(item)
        name = options.pop("name", None)
        if name is None:
            raise ConfigError(f"transform {dict(item)} has no name; write {{name: resize, size: 256}}.")  # type: ignore[arg-type]
        steps.append(call_with(TRANSFORMS.get(str(name)), options, f"transform '{name}'"))
    return Compose(steps)


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """Draw a number evenly from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def integer(generator: torch.Generator, low: int, high: int) -> int:
    """Draw a whole number from low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def chance(generator: torch.Generator, p: float) -> bool:
    """True with probability p; draws one number whatever p is, so that p does not shift what is drawn later."""
    return uniform(generator, 0.0, 1.0) < p


def check_range(what: str, value: Any, low: float, high: float) -> tuple[float, float]:
    """Give (a, b) with low <= a <= b <= high, from a pair.

    Raises:
        ConfigError: It is not such a pair.
    """
    if not isinstance(value, Sequence) or len(value) != 2 or not low <= value[0] <= value[1] <= high:
        raise ConfigError(f"{what} is {value}; it must be a pair [a, b] with {low:g} <= a <= b <= {high:g}.")
    return float(value[0]), float(value[1])
