"""Measure a model on the strata of labelled data and list those where it is weak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ...data import Source
from ...errors import ConfigError, DataError
from ...metrics.strata import Gap, Stratum, compare_strata
from ...nn.luma import mean_luma
from ...task import TASKS
from ..distributed import choose_device
from ..evaluate import (
    Predictor,
    answer_size,
    check_classes,
    check_counts,
    choose_head,
    evenly_spaced,
    group_by_size,
    read_samples,
    settled_options,
)

__all__ = ["GapReport", "collect_strata", "find_gaps"]


@dataclass(frozen=True)
class GapReport:
    """The strata of one head on one source.

    Args:
        task, head: What was measured.
        metric: Name of the figure over all data.
        value: That figure.
        images: Images with a target.
        gaps: Every stratum beside the rest of the data, the weak ones first.
        protocol: How it was measured.
    """

    task: str
    head: str
    metric: str
    value: float
    images: int
    gaps: tuple[Gap, ...]
    protocol: dict[str, Any]

    @property
    def weak(self) -> list[Gap]:
        """The strata that are clearly worse than the rest, the worst first."""
        return [gap for gap in self.gaps if gap.verdict == "weak"]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {**asdict(self), "gaps": [gap.to_dict() for gap in self.gaps]}


def collect_strata(
    model: Predictor,
    source: Source,
    head: str | None = None,
    *,
    batch_size: int = 1,
    max_side: int | None = None,
    min_side: int | None = None,
    limit: int | None = None,
    device: str | torch.device = "cpu",
    metric: Mapping[str, Any] | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, list[Stratum]]:
    """Let a model answer for a source and give the head that was measured and its strata.

    Args:
        model, source, head, batch_size, max_side, min_side, limit, device, workers, progress: As in `evaluate`.
        metric: Keywords of the task's strata, such as {"align": "scale"} for depth.
    Raises:
        ConfigError: No head fits, or its task has no strata.
        DataError: No sample has a target of the task.
    """
    check_counts(batch_size, limit, max_side)
    head = choose_head(model, source, head)
    spec = model.specs[head]
    check_classes(head, spec.classes, source, spec.task)
    task = TASKS.get(spec.task)
    options = dict(metric or {})
    given = str(options.get("protocol", task.protocols[0]))  # the first one gives the model the most
    collector = task.strata(spec.classes, **{**settled_options(model, head, given), **options})
    if collector is None:
        able = [key for key in TASKS.names() if TASKS.get(key).strata(("a",)) is not None]
        raise ConfigError(f"task '{spec.task}' has no strata to look for gaps in; choose one of {', '.join(able)}.")
    place = choose_device(device) if isinstance(device, str) else device
    if isinstance(model, nn.Module):
        model.to(place)
    samples = read_samples(source, evenly_spaced(len(source), limit), None, workers, progress)
    used = 0
    for group in group_by_size(samples, spec.task, batch_size, max_side, min_side):
        images = torch.stack([image for image, _ in group]).to(place)
        targets = [target for _, target in group]
        sizes = [size for size in map(answer_size, targets) if size is not None]
        asked: dict[str, Any] = {} if given == task.unaided else {"given": {head: (given, targets)}}
        with torch.no_grad():
            answers = model.predict(images, [head], sizes=sizes or None, **asked)[head]
        collector.update([a.to("cpu") if hasattr(a, "to") else a for a in answers], targets, mean_luma(images))
        used += len(group)
    if used == 0:
        raise DataError(f"no sample of '{source.name}' has a target for '{spec.task}'; choose a split with labels.")
    return head, collector.strata()


def find_gaps(
    model: Predictor,
    source: Source,
    head: str | None = None,
    *,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
    least: float = 0.05,
    min_images: int = 10,
    **options: Any,
) -> GapReport:
    """Find where a model is weak on labelled data.

    Args:
        model, source, head, options: As in `collect_strata`.
        seed: Of the resamples.
        draws, level, least, min_images: As in `visgen.metrics.strata.compare_strata`.
    """
    chosen, strata = collect_strata(model, source, head, **options)
    gaps = compare_strata(
        strata,
        torch.Generator().manual_seed(seed),
        draws=draws,
        level=level,
        least=least,
        min_images=min_images,
    )
    whole = strata[0]
    value = float(
        whole.table(torch.ones(1, whole.table.images, dtype=torch.float64))[:, list(whole.part.groups)].nanmean()
    )
    protocol = {
        "data": source.name,
        "strata": len(gaps),
        "interval": f"{level:.0%} of {draws} resamples of the images",
        "least": least,
        "min_images": min_images,
        "false_alarms": f"of {len(gaps)} strata without a difference about {len(gaps) * (1 - level) / 2:.1f} look weak",
        "metric": dict(options.get("metric") or {}),
    }
    task = model.specs[chosen].task
    return GapReport(task, chosen, whole.metric, value, whole.table.images, tuple(gaps), protocol)
