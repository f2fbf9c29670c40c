"""The scalars of a run: those that a restart continues, and the summary that a caller gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["RunState", "RunSummary"]


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Args:
        steps: Optimiser steps done, over all restarts.
        reason: "all steps", "early stop", "time limit", "SIGTERM", "SIGINT" or "dry run".
        skipped: Steps that were not finite.
        metrics: Last evaluation, "part/metric" to value.
        best: {"step", "metric", "value"} of the best evaluation, or empty.
        seconds: Time spent training, over all restarts.
        out: Folder of the run.
    """

    steps: int
    reason: str
    skipped: int
    metrics: dict[str, float]
    best: dict[str, Any]
    seconds: float
    out: str

    @property
    def finished(self) -> bool:
        """False when the run can be resumed to go on."""
        return self.reason in ("all steps", "early stop", "dry run")


@dataclass
class RunState:
    """What a checkpoint keeps besides tensors; every field is JSON-able."""

    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    best: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    evaluations_without_best: int = 0
    evaluated_at: int = -1
    window: dict[str, list[float]] = field(default_factory=dict)  # sum and count of figures since the last log row

    def add_row(self, row: Mapping[str, Any], is_due: bool) -> dict[str, Any] | None:
        """Take in the figures of a step; when a log row is due, give it: the mean of the steps since the last one.

        A figure that some of these steps lack is the mean over the others; `step`, `lr` and `skipped` are the last.
        """
        for name in row.keys() - {"step", "lr", "skipped"}:
            total, count = self.window.get(name, (0.0, 0))
            self.window[name] = [total + row[name], count + 1]
        if not is_due:
            return None
        means = {name: total / count for name, (total, count) in self.window.items()}
        self.window.clear()
        names = [*row, *sorted(means.keys() - row.keys())]
        return {name: means.get(name, row.get(name)) for name in names}

    def is_better(self, value: float, mode: str) -> bool:
        """True when a metric beats the best so far; NaN never does."""
        sign = 1 if mode == "max" else -1
        return math.isfinite(value) and (not self.best or sign * value > sign * self.best["value"])
