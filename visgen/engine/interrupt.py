"""Requests to stop: SIGTERM, Ctrl-C and the time limit all end a run between two steps, after a save."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["TIME_LIMIT", "StopRequest"]


TIME_LIMIT = "time limit"


class StopRequest:
    """Context in which SIGTERM and the first Ctrl-C set `reason` instead of killing; a second Ctrl-C interrupts.

    Outside the main thread signals cannot be caught; then only the time limit works.

    Args:
        time_limit: Minutes from now; None for no limit.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self._deadline = None if time_limit is None else time.monotonic() + 60 * time_limit
        self._signal: str | None = None
        self._previous: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """Why the run should stop ("SIGTERM", "SIGINT", "time limit"), or None."""
        if self._signal is not None:
            return self._signal
        return TIME_LIMIT if self._deadline is not None and time.monotonic() >= self._deadline else None

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self._signal == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number).name

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
