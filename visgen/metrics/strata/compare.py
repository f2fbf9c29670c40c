"""Compare strata with the rest of the data: value, difference, its bootstrap interval, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError
from .protocol import Part, Stratum

__all__ = ["Gap", "compare_strata", "draw_weights", "stratum_values"]

VERDICTS = ("weak", "unsure", "few", "fine")


@dataclass(frozen=True)
class Gap:
    """One stratum beside the rest of the data.

    Args:
        kind, name, metric, count, unit, images, members: Of the stratum.
        value: Its figure.
        rest: That of the rest.
        difference: Value less rest.
        low, high: Bounds of the difference.
        verdict: "weak": worse than the rest by at least the least difference that matters, the interval on that side
            of 0. "unsure": worse by as much, but the interval holds 0. "few": so few examples that the interval itself
            means little. "fine": everything else.
    """

    kind: str
    name: str
    metric: str
    value: float
    rest: float
    difference: float
    low: float
    high: float
    count: int
    unit: str
    images: int
    verdict: str
    higher_is_better: bool = True
    members: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Kind and name."""
        return f"{self.kind}/{self.name}"

    @property
    def shortfall(self) -> float:
        """How much worse than the rest it is; below 0 where it is better."""
        return -self.difference if self.higher_is_better else self.difference

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {**asdict(self), "members": list(self.members)}


def draw_weights(images: int, draws: int, generator: torch.Generator) -> Tensor:
    """Give how often each of N images counts in each of R resamples with replacement, (R, N) float64."""
    if images < 1 or draws < 1:
        raise DataError(f"images are {images} and draws {draws}; both must be 1 or more.")
    chosen = torch.randint(images, (draws, images), generator=generator)
    return torch.zeros(draws, images, dtype=torch.float64).scatter_add_(
        1, chosen, torch.ones(draws, images, dtype=torch.float64)
    )


class _Values:
    """Figures of parts under one set of weights; a table is asked once for each choice of images."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self._known: dict[tuple[int, bytes], Tensor] = {}

    def __call__(self, table: Any, part: Part) -> Tensor:
        """Give the mean over the groups of a part that have a figure, (R,)."""
        return self.groups(table, part).nanmean(dim=1)

    def pair(self, stratum: Stratum) -> tuple[Tensor, Tensor]:
        """Give a stratum and its rest; where both are means over the same groups, over those that both sides have."""
        assert stratum.rest is not None
        value, rest = self.groups(stratum.table, stratum.part), self.groups(stratum.table, stratum.rest)
        if stratum.part.groups == stratum.rest.groups:
            gone = value.isnan() | rest.isnan()
            value, rest = value.masked_fill(gone, torch.nan), rest.masked_fill(gone, torch.nan)
        return value.nanmean(dim=1), rest.nanmean(dim=1)

    def groups(self, table: Any, part: Part) -> Tensor:
        """Give the figure of each group of a part, (R, G)."""
        key = (id(table), b"" if part.images is None else part.images.numpy().tobytes())
        if key not in self._known:
            chosen = self.weights if part.images is None else self.weights * part.images
            self._known[key] = table(chosen)
        return self._known[key][:, list(part.groups)]


def stratum_values(strata: Sequence[Stratum], weights: Tensor) -> dict[str, Tensor]:
    """Give the figure of each stratum under weights (R, N) as {key: (R,)}."""
    values = _Values(weights)
    return {s.key: values(s.table, s.part) for s in strata}


def compare_strata(
    strata: Sequence[Stratum],
    generator: torch.Generator,
    *,
    draws: int = 1000,
    level: float = 0.95,
    least: float = 0.05,
    min_images: int = 10,
) -> list[Gap]:
    """Compare each stratum that has a rest with it, the worst first within each verdict.

    The same resampled images give both sides, so the difference is that of parts of one data set. Two parts that differ
    in their images alone (light) are compared over the classes that both show.

    Args:
        strata: As a StrataCollector gives them.
        generator: Source of the resamples.
        draws: Resamples.
        level: Share of them inside the interval.
        least: Smallest shortfall that matters, in units of the metric.
        min_images: Fewer images (or examples) than this make a stratum "few".
    Raises:
        DataError: No stratum, or a level outside (0, 1).
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3 (percentile interval).
    """
    if not strata or not 0 < level < 1:
        raise DataError(f"{len(strata)} strata at level {level}; give at least one and a level between 0 and 1.")
    images = strata[0].table.images
    once = _Values(torch.ones(1, images, dtype=torch.float64))
    drawn = _Values(draw_weights(images, draws, generator))
    found = []
    for s in strata:
        if s.rest is None:
            continue
        value, rest = (float(v) for v in once.pair(s))
        found_in, left_out = drawn.pair(s)
        spread = found_in - left_out
        spread = spread[~spread.isnan()]
        if value != value or rest != rest or len(spread) == 0:
            continue
        side = (1 - level) / 2
        low, high = float(spread.quantile(side)), float(spread.quantile(1 - side))
        sign = 1 if s.higher_is_better else -1
        worst = sign * (value - rest)
        is_clear = (high if s.higher_is_better else -low) < 0
        if min(s.images, s.count) < min_images:
            verdict = "few"
        elif worst > -least:
            verdict = "fine"
        else:
            verdict = "weak" if is_clear else "unsure"
        found.append(
            Gap(
                *(s.kind, s.name, s.metric, value, rest, value - rest, low, high, s.count, s.unit, s.images),
                *(verdict, s.higher_is_better, s.members),
            )
        )
    return sorted(found, key=lambda g: (VERDICTS.index(g.verdict), -g.shortfall, g.key))
