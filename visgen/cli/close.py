"""`visgen data close`: train with and without what was asked for, and report before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .benches.clock import keep_report
from .evaluate import command_line
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["close"]


@user_errors
def close(
    run: Annotated[Path, typer.Argument(metavar="GAPS.yaml", help="Run file that visgen data gaps wrote.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs, one for each arm and seed.")],
    model: Annotated[str, typer.Option("--model", help="Model to start from; else the one of the run file.")] = "",
    seeds: Annotated[int, typer.Option("--seeds", help="Number of seeds, 0 and up; 3 for figures that are shown.")] = 1,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Change a value of both arms; may repeat.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw the changes.")] = None,
    record: Annotated[Path | None, typer.Option("--record", help="Also write a record of the figures.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Train a model on with what its gaps asked for, and report what that gained.

    Beside it goes a control of as many steps without. Both are measured on the part of the data in which no gaps were
    looked for. A run that was cut short goes on; one that is there is taken as it is.
    """
    with only_json(as_json):
        from ..engine.gaps import close_gaps
        from ..zoo import load_heads, save_pretrained

        keep_report(record, run)
        found = close_gaps(
            run,
            out,
            load=lambda name: load_heads(name, device),
            export=save_pretrained,
            model=model,
            seeds=range(seeds),
            overrides=setting or [],
            device=device,
            progress=say,
        )
        if picture is not None:
            draw_closed(found, picture)
        if record is not None:
            write_closed(record, found, run, setting or [])
    if as_json:
        print_json(found.to_dict())
        return
    columns = ("stratum", "metric", "before", "control", "closed", "gain over control", "95 % interval", "")
    for head in dict.fromkeys(r.head for r in found.rows):
        print_table(columns, [_row(r) for r in found.rows if r.head == head], title=head)
    say(f"{found.steps} steps, seeds {', '.join(map(str, found.seeds))}; asked for: marked *")


def _named(row: Any) -> str:
    return "everything" if row.key == "all/all" else row.key.replace("/", " ", 1)


def _row(row: Any) -> tuple[str, ...]:
    return (
        f"{'* ' if row.is_asked else ''}{_named(row)} ({row.count} {row.unit})",
        row.metric,
        f"{row.before:.4f}",
        *(f"{s['mean']:.4f}" + (f" ± {s['std']:.4f}" if s["n"] > 1 else "") for s in (row.control, row.closed)),
        f"{row.difference:+.4f}",
        f"{row.low:+.4f} to {row.high:+.4f}",
        row.verdict,
    )


def draw_closed(found: Any, picture: Path, most: int = 14) -> None:
    """Draw the gain over the control of the whole, of what was asked for, and of the first other strata."""
    from ..structures.canvas import stack
    from ..structures.interval_drawing import Interval, draw_intervals

    parts = []
    for head in dict.fromkeys(r.head for r in found.rows):
        rows = []
        for r in [r for r in found.rows if r.head == head][:most]:
            sign = -1 if r.metric in ("AbsRel", "RMSE") else 1
            low, high = sorted((sign * r.low, sign * r.high))
            name = f"{'asked: ' if r.is_asked else ''}{_named(r)}"
            rows.append(Interval(name, sign * r.difference, low, high, f"{r.count} {r.unit}"))
        axis = (
            f"gain over the control of {found.steps} steps, {len(found.seeds)} seeds, with its 95 % interval; "
            "right is better"
        )
        parts.append(draw_intervals(rows, head, axis))
    picture.parent.mkdir(parents=True, exist_ok=True)
    stack(parts).quantize(64).save(picture, optimize=True)


def write_closed(path: Path, found: Any, run: Path, overrides: Sequence[str] = ()) -> None:
    """Write the record of a comparison of a run file with these changes."""
    from dataclasses import asdict

    from ..config import load_run, to_mapping
    from ..metrics import write_record

    config = to_mapping(load_run(run, overrides))
    config["model"]["weights"] = found.model  # by its name: where a shipped file lies differs between machines
    metrics: dict[str, Any] = {}
    for row in found.rows:
        values = {k: v for k, v in asdict(row).items() if k not in ("head", "key")}
        metrics.setdefault(row.head, {})[row.key] = values
    write_record(
        path,
        command=command_line(),
        config=config,
        seeds=list(found.seeds),
        data={head: f"{rows['all/all']['images']} pictures" for head, rows in metrics.items()},
        split="the part of the split in which no gaps were looked for",
        protocol=found.protocol,
        metrics=metrics,
        environment={"model": found.model},
    )
