"""Look for gaps on several data sets: one part of a split to look in, another to report on later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...config import PartConfig
from ...data import Source, build_source
from ...data.source import is_one_file
from ...errors import ConfigError
from ...task import TASKS
from ..parts import open_part
from .find import GapReport, find_gaps

__all__ = ["Survey", "SurveyedData", "survey"]


@dataclass(frozen=True)
class SurveyedData:
    """One head of one data set: where gaps were looked for, and where they will be reported.

    Args:
        data: "format:PATH".
        options: Of the reader.
        looked: Part of a run file that gaps were looked for in.
        reporting: Part that later figures are taken on; no sample is in both.
        train: Part to train on; no sample of the other two is in it.
        report: What was found.
    """

    data: str
    options: dict[str, Any]
    looked: PartConfig
    reporting: PartConfig
    train: PartConfig
    report: GapReport


@dataclass(frozen=True)
class Survey:
    """Gaps of one model.

    Args:
        model: What the caller calls the model.
        found: One for each head and data set.
    """

    model: str
    found: tuple[SurveyedData, ...] = field(default_factory=tuple)


def survey(
    model: Any,
    data: Sequence[str],
    *,
    name: str = "",
    tasks: Sequence[str] = (),
    split: str = "val",
    train_split: str = "train",
    train_data: Sequence[str] = (),
    share: float = 0.5,
    held_out: float | None = None,
    options: Mapping[str, Any] | None = None,
    metric: Mapping[str, Any] | None = None,
    batch_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **find: Any,
) -> Survey:
    """Look for gaps of a model on each data set and each of its heads that the model has.

    The samples of `split` are divided by a hash of their names: gaps are looked for on `share` of them and reported on
    the rest. With `held_out` they are looked for on that share of `train_split`, which the run files that follow leave
    out of training, and reported on all of `split`.

    Args:
        model: A MultiTaskModel.
        data: "format:PATH" of each data set.
        name: What the report calls the model.
        tasks: Task keys or heads to look at; () for all that data and model share.
        train_data: "format:PATH" of what is trained on for each data set, where that is another; () for the same.
        share, held_out: As above, each between 0 and 1.
        options: Of the readers.
        metric: Keywords of the strata.
        batch_size, progress, find: As in `find_gaps`.
    Raises:
        ConfigError: A share out of range, a task that no data set and the model share, equal splits, or one file for
            both.
        UnknownName: A task that the model lacks.
    """
    part = share if held_out is None else held_out
    if not 0 < part < 1:
        raise ConfigError(f"the share to look for gaps in is {part}; use a number between 0 and 1, such as 0.5.")
    if split == train_split:
        raise ConfigError(f"split and train split are both '{split}'; figures come from data that is not trained on.")
    if train_data and len(train_data) != len(data):
        raise ConfigError(f"{len(train_data)} training sets were given for {len(data)} data sets; give one for each.")
    for task in tasks:
        model.resolve(task)
    read = dict(options or {})
    found = []
    for spec, trained in zip(data, train_data or data, strict=True):
        if spec == trained and is_one_file(spec, read):
            raise ConfigError(
                f"data '{spec}' is one file, which gives the same pictures for '{train_split}' and '{split}'; name a "
                "folder with a file for each, or what is trained on as train_data (--train-data)."
            )
        source = build_source(spec, split, **read)
        for head in _heads(model, source, tasks):
            parts = _parts(spec, trained, read, head, split, train_split, share, held_out)
            looked = open_part(parts[0], split, f"gaps of {spec}")
            report = find_gaps(model, looked, head, metric=metric, batch_size=batch_size, progress=progress, **find)
            found.append(SurveyedData(spec, read, *parts, report))
    if not found:
        raise ConfigError(
            f"no head is shared: the model has {', '.join(model.specs)}, the data {', '.join(data)}"
            f"{' and the tasks asked for are ' + ', '.join(tasks) if tasks else ''}; name the label set of the "
            "data, such as --option name=camvid."
        )
    met = {name for one in found for name in (one.report.task, one.report.head)}
    if missed := [task for task in tasks if task not in met]:
        raise ConfigError(f"no data set has labels for {', '.join(missed)}; name one that has, or leave the task out.")
    return Survey(name, tuple(found))


def _heads(model: Any, source: Source, tasks: Sequence[str]) -> list[str]:
    """Heads that model and source share, of those asked for, that have strata."""
    heads = []
    for task, head in source.heads.items():
        is_asked = not tasks or task in tasks or head in tasks
        if head in model.specs and is_asked and TASKS.get(task).strata(("a",)) is not None:
            heads.append(head)
    return heads


def _parts(
    spec: str,
    trained: str,
    read: dict[str, Any],
    head: str,
    split: str,
    train_split: str,
    share: float,
    held_out: float | None,
) -> tuple[PartConfig, PartConfig, PartConfig]:
    def part(source: str, name: str, low: float, high: float) -> PartConfig:
        wrap = () if (low, high) == (0.0, 1.0) else ({"name": "share", "low": low, "high": high},)
        return PartConfig(source=source, split=name, options=read, head=head, wrap=wrap)

    if held_out is None:
        return part(spec, split, 0.0, share), part(spec, split, share, 1.0), part(trained, train_split, 0.0, 1.0)
    looked, rest = part(trained, train_split, 0.0, held_out), part(trained, train_split, held_out, 1.0)
    return looked, part(spec, split, 0.0, 1.0), rest
