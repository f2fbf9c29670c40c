"""`visgen predict`: answers about pictures, as a table, as JSON, as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, ImageError
from .output import JSON_OPTION, only_json, print_json, print_table, say, to_json, user_errors

if TYPE_CHECKING:
    from ..structures import Result

__all__ = ["predict"]


@user_errors
def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT...", help="Pictures, folders, 'patterns', videos, http(s) addresses."),
    ] = None,
    do: Annotated[
        str | None, typer.Option("--do", help="What to answer, in English: 'find all the cars and the people'.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what will be done and by which heads; without INPUT, only that.")
    ] = False,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="A task or head, e.g. depth or segmentation.camvid; may repeat.")
    ] = None,
    path: Annotated[
        str, typer.Option("--path", help="Which kind of model answers: auto, moe, diffusion, diffusion-head or both.")
    ] = "auto",
    instruct: Annotated[
        str | None, typer.Option("--instruct", help="Instruction model of --path auto, both or diffusion.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of drawn answers.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Denoising steps of drawn answers.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Shipped name, folder or Hub id.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write pictures and JSON into this folder.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="auto, float32 or bfloat16.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures held at a time.")] = 1,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Least score that is shown; 0.25 for detections when left out, 0 shows all."),
    ] = None,
    max_side: Annotated[
        int | None, typer.Option("--max-side", help="Longer side at which the model works; its own when left out.")
    ] = None,
    tta: Annotated[
        bool, typer.Option("--tta", help="Average classes, maps and depths with those of the mirrored picture.")
    ] = False,
    on_error: Annotated[
        str, typer.Option("--on-error", help="For unreadable pictures: record them and go on, skip, or raise.")
    ] = "record",
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Let addresses in private networks through.")
    ] = False,
    every: Annotated[int, typer.Option("--every", help="Of a video, answer each so-many-th frame.")] = 1,
    progress: Annotated[bool, typer.Option("--progress", help="Show a bar on standard error.")] = False,
) -> None:
    """Answer about pictures: what --do asks for, or every task of the model, or those named by --task.

    Exit code 1 when some pictures could not be read, 2 when none could.
    """
    if not inputs and not explain:
        raise ConfigError("no INPUT is given; name a picture, a folder, a 'pattern', a video or an address.")
    if not inputs and out is not None:
        raise ConfigError(f"--out is '{out}' but no INPUT is given, so there is nothing to write; add a picture.")
    with only_json(as_json):
        from ..pipelines import Pipeline, pipeline

        idle = f"--steps is {steps} but path '{path}' draws nothing; use --path diffusion or both."
        if steps is not None and path == "moe":
            raise ConfigError(idle)
        pipe = pipeline(task or None, model, device=device, dtype=dtype, path=path, instruct=instruct)
        if steps is not None and isinstance(pipe, Pipeline):
            raise ConfigError(idle)
        plan = pipe.plan(do)
        results = pipe.chain(
            inputs or [],
            do,
            batch_size=batch_size,
            threshold=threshold,
            max_side=max_side,
            on_error="record" if on_error == "skip" else on_error,  # so that what is left out can be counted
            allow_private=allow_private,
            every=every,
            progress=progress,
            **{
                k: value for k, value in {"seed": seed, "steps": steps, "tta": tta or None}.items() if value is not None
            },
        )
        if explain and inputs:
            say(plan.explain())
        elif inputs and (why := getattr(plan, "left_out", None)):
            say(f"nothing is drawn: {why}")
        counted = _Counted(results, out, skips=on_error == "skip")
        rows: list[tuple[str, ...]] = []
        try:
            for result in () if as_json else counted:
                rows.append(_row(result, inputs or []))
        except KeyboardInterrupt:
            _print_rows(rows)  # what was answered is not lost
            raise
    if not inputs:
        print_json(plan.to_dict()) if as_json else typer.echo(plan.explain())
        return
    if as_json:
        _print_list(counted)
    elif counted.good:
        _print_rows(rows)
    if out is not None:
        say(f"wrote {counted.files} files to {out}")
    if counted.good == 0:
        raise ImageError(counted.first_error or "no picture could be read.")
    if counted.bad:
        say(f"{counted.bad} of {counted.good + counted.bad} pictures could not be read; first: {counted.first_error}")
        raise typer.Exit(1)


class _Counted:
    """Results on their way through: saved when a folder is given, and counted; failures are left out with `skips`."""

    def __init__(self, results: Iterator[Result], out: Path | None, skips: bool = False) -> None:
        self._results, self._out, self._skips = results, out, skips
        self.good = self.bad = self.files = 0
        self.first_error: str | None = None

    def __iter__(self) -> Iterator[Result]:
        for result in self._results:
            if result.error is not None:
                self.bad += 1
                self.first_error = self.first_error or result.error
                if self._skips:
                    continue
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
        try:
            with only_json(True):
                result = next(iterator, None)
        except BaseException:  # an interrupt too
            if opening == ",\n":
                typer.echo("\n]")  # what was printed stays a list that can be read
            raise
        if result is None:
            break
        typer.echo(opening + to_json(result.to_dict(), indent=None), nl=False)
        opening = ",\n"
    typer.echo("\n]" if opening == ",\n" else "[]")


_COLUMNS = (
    "file",
    "class",
    "found",
    "segmentation: share of pixels",
    "depth: median (min - max)",
    "familiar?",
    "relations",
    "the paths agree",
    "seconds",
)
MOST_RELATIONS = 3


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """Print the table, without columns that are empty throughout."""
    if rows:
        shown = [i for i in range(len(_COLUMNS)) if i == 0 or any(row[i] for row in rows)]
        print_table([_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _shown_name(source: str | None, inputs: Sequence[str]) -> str:
    """The name of a file, below the folder that was given; an address as it is."""
    if not source or "://" in source:
        return str(source)
    folder = next((folder for folder in inputs if Path(folder) in Path(source).parents), None)
    return Path(source).name if folder is None else str(Path(source).relative_to(folder))


def _row(result: Result, inputs: Sequence[str] = ()) -> tuple[str, ...]:
    name = _shown_name(result.source, inputs)
    if result.error is not None:
        return name, f"not read: {result.error}", *("" for _ in _COLUMNS[2:])
    asked = _figures(result.request)
    odds = ", ".join(f"{label} {p:.0%}" for label, p in asked.get("probability", {}).items())
    is_likeliest = not odds or _has_whole(result.request, "classification")
    likeliest = _lines(result.classification if is_likeliest else None, lambda c: f"{c.label} {c.score:.0%}")
    classes = "\n".join(filter(None, (likeliest, odds)))
    one_set = not isinstance(result.detection, dict)  # of several, each counts the classes that it can name
    found = _lines(
        result.detection,
        lambda boxes: _counts(
            {**{name: 0 for name in asked.get("count", ()) if one_set or name in boxes.classes}, **_tally(boxes)}
        ),
    )
    maps = _lines(
        result.segmentation,
        lambda m: ", ".join(f"{label} {share:.0%}" for _, label, share in m.shares()[:3]) or "nothing",
    )
    depths = _lines(result.depth, lambda d: _distance(d.summary(), d.kind))
    medians = asked.get("median", {})
    if len(medians) > 1 or None in medians.values():
        first = next(iter(result.depth.values())) if isinstance(result.depth, dict) else result.depth
        unit = _unit(first.kind)
        there = ", ".join(f"{k} {'not seen' if v is None else f'{v:.2f}{unit}'}" for k, v in medians.items())
        depths = f"{depths}\n{there}" if _has_whole(result.request, "depth") else there
    triplets = _lines(result.scene_graph, lambda g: ", ".join(_best(g)) or "nothing")
    verdicts = _lines(result.ood, _verdict) or _carried(result)
    agreed = ", ".join(f"{task} {share:.0%}" for task, share in (result.request or {}).get("agreement", {}).items())
    seconds = f"{sum(result.timing.values()):.2f}"
    return name, classes, found, maps, depths, verdicts, triplets, agreed, seconds


def _figures(request: Any) -> dict[str, dict[str, Any]]:
    """What the requests of an instruction asked in numbers, all of one kind together.

    Two requests of one class, such as "one person" and "the persons", may differ: the second is "person (2)". Counts
    only say which classes were counted; the numbers are those of the boxes that are left.
    """
    figures: dict[str, dict[str, Any]] = {}
    for answer in (request or {}).get("answers", ()):
        for kind, values in answer.items():
            mine = figures.setdefault(kind, {})
            for name, value in values.items():
                further = [] if kind == "count" else [f"{name} ({number})" for number in range(2, len(mine) + 3)]
                mine[next((label for label in [name, *further] if mine.get(label, value) == value), name)] = value
    return figures


def _has_whole(request: Any, task: str) -> bool:
    """Whether one of the requests asks a task about the whole picture, naming no class."""
    return any(row["task"] == task and not row["classes"] for row in (request or {}).get("requests", ()))


def _tally(boxes: Any) -> dict[str, int]:
    return dict(Counter(boxes.names).most_common())


def _counts(counts: dict[str, int]) -> str:
    """ "2 person, 1 car", the most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count} {label}" for label, count in ordered) or "nothing"


def _best(graph: Any) -> list[str]:
    """The surest relations in words, each once."""
    return [" ".join(triplet) for triplet in dict.fromkeys(graph.names)][:MOST_RELATIONS]


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


def _carried(result: Result) -> str:
    """The verdicts that other answers bring along, with the task in front where several do."""
    rows = [(task, name, value.ood) for task, name, value in result.answers() if getattr(value, "ood", None)]
    if len(rows) == 1:
        return _verdict(rows[0][2])
    return "\n".join(f"{task}{f' ({name})' if name else ''}: {_verdict(verdict)}" for task, name, verdict in rows)


def _distance(summary: dict[str, float | None], kind: str) -> str:
    if summary["median"] is None:
        return "no known pixel"
    unit = _unit(kind)
    return f"{summary['median']:.2f}{unit} ({summary['min']:.2f} - {summary['max']:.2f})"


def _unit(kind: str) -> str:
    return " m" if kind == "metric_m" else ""
