"""`visgen predict`: answers about pictures, as a table, as JSON, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ImageError
from .output import JSON_OPTION, only_json, print_table, say, to_json, user_errors

if TYPE_CHECKING:
    from ..structures import Result

__all__ = ["predict"]


@user_errors
def predict(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Pictures, folders, 'patterns', videos, http(s) addresses.")
    ],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="A task or head, e.g. depth or segmentation.camvid; may repeat.")
    ] = None,
    path: Annotated[str, typer.Option("--path", help="Which kind of model answers: auto or moe.")] = "auto",
    model: Annotated[str | None, typer.Option("--model", help="Shipped name, folder or Hub id.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write pictures and JSON into this folder.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32 or bfloat16.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures held at a time.")] = 1,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Least score that is shown.")] = None,
    max_side: Annotated[
        int | None, typer.Option("--max-side", help="Longer side at which the model works; its own when left out.")
    ] = None,
    on_error: Annotated[
        str, typer.Option("--on-error", help="For unreadable pictures: record them and go on, skip, or raise.")
    ] = "record",
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let addresses in private networks through.")
    ] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Show a bar on standard error.")] = False,
) -> None:
    """Answer about pictures: every task of the model, or those named by --task.

    Exit code 1 when some pictures could not be read, 2 when none could.
    """
    with only_json(as_json):
        from ..pipelines import pipeline

        pipe = pipeline(task or None, model, device=device, dtype=dtype, path=path)
        results = pipe.chain(
            inputs,
            batch_size=batch_size,
            threshold=threshold,
            max_side=max_side,
            on_error=on_error,
            allow_private=allow_private,
            progress=progress,
        )
        counted = _Counted(results, out)
        rows = None if as_json else [_row(result) for result in counted]
    if as_json:
        _print_list(counted)
    elif rows and counted.good:
        shown = [i for i in range(len(_COLUMNS)) if i == 0 or any(row[i] for row in rows)]
        print_table([_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows])
    if out is not None:
        say(f"wrote {counted.files} files to {out}")
    if counted.good == 0:
        raise ImageError(counted.first_error or "no picture could be read.")
    if counted.bad:
        say(f"{counted.bad} of {counted.good + counted.bad} pictures could not be read; first: {counted.first_error}")
        raise typer.Exit(1)


class _Counted:
    """Results on their way through: saved when a folder is given, and counted."""

    def __init__(self, results: Iterator[Result], out: Path | None) -> None:
        self._results, self._out = results, out
        self.good = self.bad = self.files = 0
        self.first_error: str | None = None

    def __iter__(self) -> Iterator[Result]:
        for result in self._results:
            if result.error is not None:
                self.bad += 1
                self.first_error = self.first_error or result.error
            else:
                self.good += 1
                if self._out is not None:
                    self.files += len(result.save(self._out))
            yield result


def _print_list(results: _Counted) -> None:
    """Print a JSON list one element at a time, so that memory stays flat for any number of pictures."""
    opening = "[\n"
    iterator = iter(results)
    while True:
        with only_json(True):
            result = next(iterator, None)
        if result is None:
            break
        typer.echo(opening + to_json(result.to_dict(), indent=None), nl=False)
        opening = ",\n"
    typer.echo("\n]" if opening == ",\n" else "[]")


_COLUMNS = ("file", "class", "segmentation: share of pixels", "depth: median (min - max)", "familiar?", "seconds")


def _row(result: Result) -> tuple[str, ...]:
    name = Path(result.source).name if result.source and "://" not in result.source else str(result.source)
    if result.error is not None:
        return name, f"not read: {result.error}", "", "", "", ""
    classes = _lines(result.classification, lambda c: f"{c.label} {c.score:.0%}")
    maps = _lines(
        result.segmentation, lambda m: ", ".join(f"{label} {share:.0%}" for _, label, share in m.shares()[:3])
    )
    depths = _lines(result.depth, lambda d: _distance(d.summary(), d.kind))
    verdicts = _lines(result.ood, _verdict)
    return name, classes, maps, depths, verdicts, f"{sum(result.timing.values()):.2f}"


def _lines(field: Any, show: Callable[[Any], str]) -> str:
    """One line for the answer of a task, or one per label set with its name in front."""
    if isinstance(field, dict):
        return "\n".join(f"{label_set}: {show(value)}" for label_set, value in field.items())
    return "" if field is None else show(field)


def _verdict(value: Any) -> str:
    if value.threshold is None:
        return f"score {value.score:.2f}, no threshold"
    word, sign = ("unusual", ">") if value.is_ood else ("looks familiar", "<=")
    return f"{word} (score {value.score:.2f} {sign} {value.threshold:.2f})"


def _distance(summary: dict[str, float | None], kind: str) -> str:
    if summary["median"] is None:
        return "no known pixel"
    unit = " m" if kind == "metric_m" else ""
    return f"{summary['median']:.2f}{unit} ({summary['min']:.2f} - {summary['max']:.2f})"
