"""What a run tells while it goes: CSV files, TensorBoard on request, a progress bar on a terminal."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import MissingDependency

__all__ = ["CsvLog", "Progress", "TensorBoardLog"]


class CsvLog:
    """A CSV file whose rows survive a kill and whose columns may grow.

    Numbers are written with `repr`, so reading them back gives the same float64. A column that is new rewrites the
    file with a wider header, which happens a few times per run.

    Args:
        path: The file; made on the first row.
        resume_at: Keep rows whose `step` is at most this and drop later ones; None starts a new file.
    """

    def __init__(self, path: Path, resume_at: int | None = None) -> None:
        self.path = path
        self.columns: list[str] = []
        if resume_at is None:
            path.unlink(missing_ok=True)
        elif path.exists():
            rows = [row for row in read_csv(path) if row.get("step", "").isdigit() and int(row["step"]) <= resume_at]
            self.columns = list(rows[0]) if rows else []
            self._rewrite(rows)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; missing columns stay empty."""
        text = {key: repr(value) if isinstance(value, float) else str(value) for key, value in row.items()}
        fresh = [key for key in text if key not in self.columns]
        if fresh:
            rows = read_csv(self.path) if self.columns else []
            self.columns += fresh
            self._rewrite([*rows, text])
            return
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self.columns, restval="", lineterminator="\n").writerow(text)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        if self.columns:
            writer.writeheader()
        writer.writerows(rows)
        temporary = self.path.with_suffix(".csv.tmp")
        temporary.write_text(text.getvalue(), encoding="utf-8")
        os.replace(temporary, self.path)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Give the complete rows of a CSV file as text; a last row without its line end was cut short and is dropped."""
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(io.StringIO(text)))


class TensorBoardLog:
    """Scalars for TensorBoard.

    Args:
        folder: Where the event files go.
        resume_at: Hide events after this step that an earlier process wrote; None at a fresh start.
    Raises:
        MissingDependency: tensorboard is not installed.
    """

    def __init__(self, folder: Path, resume_at: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependency(
                "train.tensorboard is true but tensorboard is not installed; run pip install tensorboard or set it "
                "to false: the CSV log is always written."
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=None if resume_at is None else resume_at + 1)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add every number of a row at the row's `step`."""
        for key, value in row.items():
            if key != "step" and isinstance(value, (int, float)):
                self._writer.add_scalar(key, value, row["step"])

    def close(self) -> None:
        """Write out what is buffered."""
        self._writer.close()


class Progress:
    """A bar with time left on a terminal, plain lines on request, otherwise nothing.

    Args:
        mode: "auto", "bar", "lines" or "none".
        steps: Steps of the whole run.
        start: Steps already done.
        every: Steps between two plain lines.
    """

    def __init__(self, mode: str, steps: int, start: int, every: int = 50) -> None:
        self.mode = mode if mode != "auto" else "bar" if sys.stderr.isatty() else "none"
        self.steps, self.every = steps, every
        self._bar: Any = None
        if self.mode == "bar":
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("train", total=steps, completed=start, figures="")
            self._bar.start()

    def step(self, done: int, row: Mapping[str, Any]) -> None:
        """Show that `done` steps are done, with the figures of the last row."""
        figures = f"loss {row['loss']:.4g}" + (f"  skipped {row['skipped']}" if row["skipped"] else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=done, figures=figures)
        elif self.mode == "lines" and (done % self.every == 0 or done == self.steps):
            print(f"step {done}/{self.steps}  {figures}  {row['seconds']:.3g} s/step", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Show one line, unless the run is to be quiet."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        elif self.mode == "lines":
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
