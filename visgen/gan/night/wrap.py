"""The wrapper "night" of run files: a share of a source's pictures by night, through a trained generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ...data import WRAPPERS, Sample, Source
from ...nn.luma import mean_luma
from .augment import Night, NightAugmentation
from .generator import load_night

__all__ = ["wrap_night"]


@WRAPPERS.register("night")
def wrap_night(
    source: Source,
    generator: str,
    p: float = 0.25,
    *,
    select: Literal["hash", "random"] = "hash",
    seed: int = 0,
    salt: str = "",
    skip_below: float | None = None,
    min_contrast: float | None = None,
    cache: str | None = None,
    grain: Sequence[float] = (0.0, 0.0),
) -> Night:
    """Show a share of a source by night: {name: night, generator: FOLDER, p: 0.25}.

    Args:
        source: Labelled pictures of the day.
        generator: Folder of a trained generator, as `load_night` takes it.
        p, select, seed, salt, min_contrast, cache, grain: As in NightAugmentation. A part with `cache: true` keeps the
            nights of its first epoch.
        skip_below: Pictures whose mean luma is below this stay as they are: they are dark already. None skips none.
    """
    options: dict[str, Any] = {"select": select, "seed": seed, "salt": salt, "min_contrast": min_contrast}
    skip = None if skip_below is None else _Darker(skip_below)
    return Night(source, NightAugmentation(load_night(generator), p, cache=cache, skip_if=skip, grain=grain, **options))


class _Darker:
    """True for samples whose mean luma is below a bound."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def __call__(self, sample: Sample) -> bool:
        return float(mean_luma(sample.image)) < self.bound
