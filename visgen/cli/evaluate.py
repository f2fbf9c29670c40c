"""`visgen evaluate`: figures of one head on labelled data, with the protocol beside them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["command_line", "counter", "evaluate", "read_pairs"]


@user_errors
def evaluate(
    task: Annotated[str, typer.Option("--task", help="Task, such as depth.")],
    data: Annotated[
        str, typer.Option("--data", metavar="FORMAT:PATH", help="Such as semantic:camvid; $NAMES are filled in.")
    ],
    split: Annotated[str, typer.Option("--split", help="Part of the data set.")] = "val",
    model: Annotated[str | None, typer.Option("--model", help="Shipped name, folder or Hub id.")] = None,
    head: Annotated[str | None, typer.Option("--head", help="Head; else the one of the data's label set.")] = None,
    align: Annotated[
        str | None, typer.Option("--align", help="Depth: none (default), scale, scale_shift or disparity.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="KEY=VALUE", help="Option of the metric.")
    ] = None,
    seen: Annotated[
        list[str] | None,
        typer.Option("--seen", metavar="SPLIT", help="Scene graphs: triplets of this split are not zero-shot, either."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Use so many samples, evenly spaced.")] = None,
    max_side: Annotated[
        int | None, typer.Option("--max-side", help="Longer side fed in; the model's own if left out.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures of one size at a time.")] = 1,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")] = "float32",
    tta: Annotated[
        bool, typer.Option("--tta", help="Average classes, maps and depths with those of the mirrored picture.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option("--record", help="Also write a record of figures and protocol.")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No bar on standard error.")] = False,
) -> None:
    """Measure a model on labelled data. Answers are scored at the size of the labels, with no display threshold."""
    words = _command(locals())
    with only_json(as_json):
        from ..data import build_source
        from ..data.source import is_one_file
        from ..engine import evaluate as measure
        from ..zoo import DEFAULT_MODEL, load_heads

        metric_options = read_pairs(metric or [], "--metric")
        if align is not None:
            if task.partition(".")[0] != "depth":
                raise ConfigError(f"--align is '{align}' but the task is '{task}'; only depth is aligned.")
            if metric_options.setdefault("align", align) != align:
                raise ConfigError(
                    f"--align is '{align}' but --metric says align={metric_options['align']}; keep one of them."
                )
        if head is not None and head.partition(".")[0] != task.partition(".")[0]:
            raise ConfigError(f"--head is '{head}' but --task is '{task}'; a head's name starts with its task.")
        loaded = load_heads(model or DEFAULT_MODEL, device)
        longest = loaded.max_side if max_side is None else max_side  # `measure` refuses 0
        reading = read_pairs(option or [], "--option")
        if seen and is_one_file(data, reading):
            raise ConfigError(
                f"--seen is {', '.join(seen)}, but '{data}' is one file, the same for all; name a folder."
            )
        source = build_source(data, split, **reading)
        report = measure(
            loaded,
            source,
            head or task,
            batch_size=batch_size,
            max_side=longest,
            min_side=min(loaded.min_side, longest) or None,
            limit=limit,
            device=device,
            dtype=dtype,
            metric=metric_options,
            tta=tta,
            seen={one: build_source(data, one, **reading) for one in seen or ()},
            name=model or DEFAULT_MODEL,
            data=data,
            progress=None if quiet or not sys.stderr.isatty() else counter(),
        ).to_dict()
        report["protocol"]["split"] = split
        if report["task"] == "depth":  # a figure of depth is shown with its alignment, also when that is none
            report["protocol"]["metric"].setdefault("align", "none")
        if record is not None:
            _write(record, words, report, loaded.config())
    if as_json:
        print_json(report)
        return
    rows = [(name, f"{value:.4f}") for name, value in report["metrics"].items()]
    print_table(("metric", "value"), rows, title=f"{report['model']}, {report['protocol']['head']}, {data} [{split}]")
    print_table(("protocol", ""), [(k, str(v)) for k, v in report["protocol"].items()])
    if record is not None:
        say(f"wrote {record}")


def read_pairs(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """Turn "key=value" texts into a dictionary; values are read as YAML.

    Raises:
        ConfigError: A text without "=", a key given twice, or a value that is not YAML.
    """
    import yaml

    from ..config.loader import read_value

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option} is '{pair}'; write KEY=VALUE.")
        if key in found:
            raise ConfigError(f"{option} gives '{key}' twice; keep one of them.")
        try:
            found[key] = read_value(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value in {option} '{pair}' is not YAML: {error}.") from error
    return found


def command_line() -> str:
    """Give the words that this process was called with, for a record; options of display and record are left out."""
    words, kept = iter(sys.argv[1:]), ["visgen"]
    for word in words:
        name, equals, _ = word.partition("=")
        if name in ("--record", "--picture"):
            if not equals:
                next(words, None)
        elif name not in ("--json", "--quiet", "--debug"):
            kept.append(word)
    return shlex.join(kept)


def _command(options: dict[str, Any]) -> str:
    """Give the command that repeats this evaluation; what only changes the display is left out."""
    words = ["visgen", "evaluate"]
    for name, value in options.items():
        if name in ("record", "as_json", "quiet", "words") or value is None or value is False:
            continue
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}", str(one)]
    return shlex.join(words)


def _write(path: Path, command: str, report: dict[str, Any], config: dict[str, Any]) -> None:
    from ..metrics import write_record

    write_record(
        path,
        command=command,
        config=config,
        seeds=[],
        data=report["data"],
        split=report["protocol"]["split"],
        protocol=report["protocol"],
        metrics=report["metrics"],
        environment={"model": report["model"]},
    )


def counter() -> Callable[[int, int], None]:
    """Give a function that shows how many samples are done, on one line of standard error."""

    def show(done: int, total: int) -> None:
        typer.echo(f"\r{done}/{total}", nl=done == total, err=True)

    return show
