"""Open the parts of a run file: the source of one, its head chosen, shrunk, cached and cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..config import DataConfig, PartConfig
from ..data import Cached, Mapped, Source, Subset, build_source, build_transform, wrap_source
from ..data.mixture import sample_of
from ..data.source import is_one_file
from ..data.wrap import choosing
from ..errors import ConfigError, nearest
from .evaluate import evenly_spaced

__all__ = ["open_part", "refuse_one_file"]


def refuse_one_file(data: DataConfig) -> None:
    """Refuse one file as training and evaluation part of two names: the pictures would be the same.

    Raises:
        ConfigError: Two parts ask a file for different splits, and no wrapper `share` divides it.
    """
    for name, part in data.val.items():
        for other, train in data.train.items():
            splits = (train.split or "train", part.split or "val")
            is_divided = any(wrap.get("name") == "share" for wrap in (*part.wrap, *train.wrap))
            if part.source != train.source or splits[0] == splits[1] or is_divided:
                continue
            if is_one_file(part.source, part.options):
                raise ConfigError(
                    f"data.train.{other} and data.val.{name} ask '{part.source}' for its parts '{splits[0]}' and "
                    f"'{splits[1]}', but it is one file, which gives the same pictures for both; name a folder with a "
                    "file for each, or another file for one of them."
                )


def open_part(part: PartConfig, split: str, where: str) -> Source:
    """Open a part's source: its samples chosen, cut to `limit`, shrunk, wrapped and cached, its head named."""
    if "split" in part.options:
        raise ConfigError(f"{where}.options has a split; a part says it as {where}.split.")
    chosen, changed = choosing(part.wrap)
    source = wrap_source(build_source(part.source, part.split or split, **part.options), chosen)
    if part.limit is not None:
        source = Subset(source, evenly_spaced(len(source), part.limit))
    if part.shrink:
        source = Mapped(source, _Fixed(build_transform(part.shrink)))
    source = wrap_source(source, changed)
    if part.cache:
        source = Cached(source)
    if part.head:
        task = part.head.split(".", 1)[0]
        if task not in source.heads:
            raise ConfigError(
                f"{where}.head is '{part.head}', but source '{source.name}' has labels for "
                f"{', '.join(source.heads) or 'nothing'}{nearest(task, source.heads)} Choose a head of one of these."
            )
        source = _OneHead(source, task, part.head)
    return source


class _Fixed:
    """A transform without chance as a function of the sample alone."""

    def __init__(self, transform: Callable[[Any, torch.Generator], Any]) -> None:
        self.transform = transform

    def __call__(self, sample: Any) -> Any:
        return self.transform(sample, torch.Generator().manual_seed(0))


class _OneHead:
    """A source that feeds one head, under the name that the run gives it."""

    def __init__(self, source: Source, task: str, head: str) -> None:
        self.source, self.name = source, source.name
        self.heads = {task: head}
        self.classes = {task: tuple(source.classes.get(task, ()))}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        return self.source[index]

    def of_epoch(self, index: int, epoch: int) -> Any:
        return sample_of(self.source, index, epoch)
