"""Batches of the coming steps, loaded ahead by other processes without any effect on the numbers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

__all__ = ["BatchStream", "prefetch"]


class BatchStream(Protocol):
    """What the trainer needs of a mixture: batches as a pure function of (step, rank)."""

    def batches(self, step: int, rank: int = 0) -> list[Any]:
        """Give the batches of one draw."""

    def state_dict(self) -> dict[str, Any]:
        """Give JSON-able settings by which a resumed run recognises its mixture."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check (or restore) those settings."""


class _Draws(Dataset):  # type: ignore[type-arg]
    """Draws `start`..`stop` - 1 of a mixture as a map-style data set."""

    def __init__(self, mixture: BatchStream, start: int, stop: int, rank: int) -> None:
        self.mixture, self.start, self.stop, self.rank = mixture, start, stop, rank

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> list[Any]:
        return list(self.mixture.batches(self.start + index, self.rank))


def prefetch(mixture: BatchStream, start: int, stop: int, rank: int, workers: int) -> Iterator[list[Any]]:
    """Yield the batches of draws `start`..`stop` - 1 in order.

    Args:
        workers: Loading processes; 0 loads in this one. Order and values are the same for any number, because each
            draw depends on its number only.
    """
    draws = _Draws(mixture, start, stop, rank)
    if workers == 0 or len(draws) == 0:
        for index in range(len(draws)):
            yield draws[index]
        return
    loader = DataLoader(
        draws,
        batch_size=None,
        num_workers=workers,
        collate_fn=_same,
        worker_init_fn=_leave_signals_to_the_trainer,
        # The loader draws a seed for its workers; a generator of its own leaves torch's global one alone.
        generator=torch.Generator(),
    )
    yield from loader


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ignore SIGTERM and SIGINT, which schedulers and Ctrl-C send to every process of a run.

    A loader that died of one would raise in the trainer at any moment, also while it saves. The trainer ends its
    loaders itself, and they end when it is gone.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _same(batches: list[Any]) -> list[Any]:
    return batches
