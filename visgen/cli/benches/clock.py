"""Timing several cases side by side in one process, and the facts that such figures depend on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from ...errors import ConfigError

__all__ = [
    "RECORD_OPTION",
    "REPEATS_OPTION",
    "THREADS_OPTION",
    "check_counts",
    "compute_threads",
    "environment",
    "keep_report",
    "interleave",
]


def keep_report(record: Path | None, run: Path | None) -> None:
    """Raise ConfigError where a record would take the place of the report that lies beside a run file of gaps."""
    if record is not None and run is not None and record.absolute() == run.with_suffix(".json").absolute():
        raise ConfigError(f"--record '{record}' is the report of {run}, which visgen data close reads; name another.")


RECORD_OPTION = typer.Option("--record", help="Also write the figures as a record here.")
REPEATS_OPTION = typer.Option("--repeats", help="Timed runs of each case, interleaved.")
THREADS_OPTION = typer.Option("--threads", help="CPU threads.")


def check_counts(threads: int, repeats: int) -> None:
    """Raise ConfigError unless both are at least 1."""
    if threads < 1 or repeats < 1:
        raise ConfigError(f"threads is {threads} and repeats {repeats}; both must be at least 1.")


@contextmanager
def compute_threads(threads: int) -> Iterator[None]:
    """While open, torch computes with this many CPU threads."""
    import torch

    kept = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(kept)


def interleave(cases: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 3) -> dict[str, list[float]]:
    """Give seconds per case; round after round, each case runs once, so that a busy machine slows each alike.

    Args:
        cases: Name to what is timed; a case that measures inference enters `torch.no_grad` itself.
        repeats: Timed rounds.
        warm_up: Rounds before them, left out.
    """
    seconds: dict[str, list[float]] = {label: [] for label in cases}
    for i in range(repeats + warm_up):
        for label, run in cases.items():
            start = time.perf_counter()
            run()
            if i >= warm_up:
                seconds[label].append(time.perf_counter() - start)
    return seconds


def environment(threads: int, repeats: int, packages: Sequence[str] = ()) -> dict[str, Any]:
    """Facts about this process and machine; `packages` adds the versions of installed packages."""
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in packages},
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "repeats": repeats,
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
