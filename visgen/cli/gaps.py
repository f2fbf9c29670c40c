"""`visgen data gaps`: where a model is weak, and a run that asks generators for exactly that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .benches.clock import keep_report
from .evaluate import counter, read_pairs
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["gaps"]


@user_errors
def gaps(
    model: Annotated[str, typer.Argument(help="Shipped name, folder or Hub id.")],
    data: Annotated[list[str], typer.Option("--data", metavar="FORMAT:PATH", help="Labelled data; may repeat.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Task or head to look at; all that data and model share.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Part of the data that is not trained on.")] = "val",
    train_split: Annotated[str, typer.Option("--train-split", help="Part to train on.")] = "train",
    train_data: Annotated[
        list[str] | None,
        typer.Option("--train-data", metavar="FORMAT:PATH", help="What is trained on, where it is another; one each."),
    ] = None,
    share: Annotated[
        float, typer.Option("--share", help="Look for gaps in this share of the split; the rest is for the report.")
    ] = 0.5,
    held_out: Annotated[
        float | None, typer.Option("--held-out", help="Look in this share of the training part instead.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.yaml", help="Also write a run file that asks generators for the gaps."),
    ] = None,
    night: Annotated[
        str, typer.Option("--night", help="Day-to-night generator for dark pictures: a folder or a shipped name.")
    ] = "",
    night_option: Annotated[
        list[str] | None,
        typer.Option("--night-option", metavar="KEY=VALUE", help="Of the wrapper night, such as grain=[0.03,0.1]."),
    ] = None,
    gan: Annotated[
        list[str] | None, typer.Option("--gan", help="Folder of a class-conditional GAN, for its classes; may repeat.")
    ] = None,
    real: Annotated[
        bool, typer.Option("--real/--no-real", help="Where nothing is generated, show real pictures oftener.")
    ] = True,
    most: Annotated[int, typer.Option("--most", help="Ask for at most so many gaps of a head.")] = 6,
    steps: Annotated[int, typer.Option("--steps", help="Training steps of the run file.")] = 300,
    train_batch: Annotated[int, typer.Option("--train-batch", help="Pictures of a step of the run file.")] = 8,
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate of the run file.")] = 3e-4,
    asked_share: Annotated[
        float, typer.Option("--asked-share", help="Share of the steps that what is asked for takes.")
    ] = 0.4,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="KEY=VALUE", help="Option of the figures, such as k=50.")
    ] = None,
    least: Annotated[float, typer.Option("--least", help="Smallest shortfall that matters.")] = 0.05,
    min_images: Annotated[int, typer.Option("--min-images", help="A stratum with fewer is not called weak.")] = 10,
    limit: Annotated[int | None, typer.Option("--limit", help="Look at so many samples, evenly spaced.")] = None,
    max_side: Annotated[
        int | None, typer.Option("--max-side", help="Longer side fed in; the model's own if left out.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures of one size at a time.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the resamples behind the intervals, and of the run.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw the gaps.")] = None,
    record: Annotated[Path | None, typer.Option("--record", help="Also write a record of the figures.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No counter on standard error.")] = False,
) -> None:
    """List where a model is weak: classes, sizes, dark pictures, depths, compositions.

    Each stratum is compared with the rest of the data; one with too few pictures is said to be so, not called weak.
    Gaps are looked for in one half of the split, by a hash of the pictures' names, so that the other half can tell
    later what closing them gained (visgen data close FILE.yaml). A model trained so has no OOD head until one is fitted
    to it again (visgen fit).
    """
    with only_json(as_json):
        from ..engine.gaps import Offers, Settings, ask, run_mapping, survey, write_runs
        from ..gan import load_gan
        from ..gan.night import load_night
        from ..zoo import load_heads

        keep_report(record, out)
        if night_option and not night:
            raise ConfigError("--night-option is given and no generator that it is for; name one with --night.")
        if night:
            load_night(night)  # a misspelt one is told before the survey, which takes minutes
        loaded = load_heads(model, device)
        longest = loaded.max_side if max_side is None else max_side  # `survey` refuses 0
        found = survey(
            loaded,
            data,
            name=model,
            tasks=task or (),
            split=split,
            train_split=train_split,
            train_data=train_data or (),
            share=share,
            held_out=held_out,
            options=read_pairs(option or [], "--option"),
            metric=read_pairs(metric or [], "--metric"),
            batch_size=batch_size,
            max_side=longest,
            min_side=min(loaded.min_side, longest) or None,
            limit=limit,
            device=device,
            seed=seed,
            least=least,
            min_images=min_images,
            progress=None if quiet or not sys.stderr.isatty() else counter(),
        )
        drawn = {folder: load_gan(folder).classes for folder in gan or ()}
        offers = Offers(night, drawn, real, read_pairs(night_option or [], "--night-option"))
        requests = ask(found, offers, most) if out is not None else []
        served = [r for r in requests if r.part is not None]
        if out is not None:
            settings = Settings(steps, train_batch, lr, asked_share, seed)
            place = f"runs/{out.stem}"
            run = run_mapping(found, requests, loaded.config(), weights_of(model), settings, place) if served else None
            write_runs(out, found, requests, run)
        if picture is not None:
            draw_survey(found, picture)
        if record is not None:
            write_survey(record, found, loaded.config())
    if as_json:
        asked = [{**vars(r), "part": None if r.part is None else r.part.source} for r in requests]
        print_json({**report_of(found), "requests": asked, "run": str(out) if served else None})
        return
    for one in found.found:
        show_report(one)
    for r in requests:
        say(f"{r.head}, {', '.join(r.gaps)}: {r.served_by or 'nothing'}: {r.note}")
    if served:
        say(f"wrote {out}; see what it gains with: visgen data close {out}")
    if any(r.served_by == "compositional" for r in requests) and out is not None:
        say(f"wrote {out.with_suffix('.compositional.yaml')}")
    elif out is not None and not served:
        say("nothing is asked for: no gap is weak, or nothing serves one")


def weights_of(model: str) -> Path:
    """Give the weights file of a model by folder or shipped name.

    Raises:
        ConfigError: It is on the Hub; a run file names a file.
    """
    from ..errors import UnknownName
    from ..zoo.index import find_entry

    folder = Path(model)
    if folder.is_dir():
        return folder / "model.safetensors"
    try:
        zoo, entry = find_entry(model)
    except UnknownName as error:
        raise ConfigError(f"model '{model}' is no folder here; save it to one first, a run file names it.") from error
    return zoo / entry.file


def report_of(found: Any) -> dict[str, Any]:
    """Give a survey as plain values."""
    rows = [{"data": one.data, "split": one.looked.split, **one.report.to_dict()} for one in found.found]
    return {"model": found.model, "data": rows}


def draw_survey(found: Any, picture: Path, most: int = 10) -> None:
    """Draw the first strata of each head, one picture below another."""
    from ..structures.canvas import stack
    from ..structures.interval_drawing import Interval, draw_intervals

    parts = []
    for one in found.found:
        rows = []
        for gap in one.report.gaps[:most]:
            sign = 1 if gap.higher_is_better else -1
            low, high = sorted((sign * gap.low, sign * gap.high))
            rows.append(Interval(f"{gap.kind} {gap.name}", sign * gap.difference, low, high, _counted(gap)))
        if rows:
            title = f"{one.report.head}: {one.report.metric} {one.report.value:.3f} over {one.report.images} pictures"
            axis = "difference to the rest of the data with its 95 % interval; left is worse than the rest"
            parts.append(draw_intervals(rows, title, axis))
    if not parts:
        raise ConfigError("there is no stratum to draw; the data have one class and one kind of light.")
    picture.parent.mkdir(parents=True, exist_ok=True)
    stack(parts).quantize(64).save(picture, optimize=True)


def write_survey(path: Path, found: Any, config: dict[str, Any]) -> None:
    """Write the record of a survey."""
    from ..metrics import write_record
    from .evaluate import command_line

    rows = {f"{one.report.head} on {one.data}": one for one in found.found}
    write_record(
        path,
        command=command_line(),
        config=config,
        seeds=[],
        data={name: f"{one.data}: {one.report.images} pictures" for name, one in rows.items()},
        split=f"{found.found[0].looked.split}, the part that gaps are looked for in",
        protocol={name: {**one.report.protocol, "part": vars(one.looked)} for name, one in rows.items()},
        metrics={name: _figures(one.report) for name, one in rows.items()},
        environment={"model": found.model},
    )


def _figures(report: Any) -> dict[str, Any]:
    kept = ("metric", "value", "rest", "difference", "low", "high", "count", "images", "verdict")
    strata = {g.key: {k: getattr(g, k) for k in kept} for g in report.gaps}
    return {report.metric: report.value, "weak": len(report.weak), "strata": len(strata), "gaps": strata}


def show_report(one: Any, most: int = 12) -> None:
    """Print the strata of one head: all that are weak, and the first of the others."""
    report = one.report
    rows = [_row(gap) for gap in report.gaps[: max(most, len(report.weak))]]
    title = (
        f"{report.head} on {one.data} [{one.looked.split}]: {report.metric} {report.value:.4f}, {report.images} images"
    )
    columns = ("stratum", "metric", "value", "rest", "difference", "95 % interval", "count", "verdict")
    print_table(columns, rows, title=title)
    hidden = len(report.gaps) - len(rows)
    say(f"{len(report.weak)} weak of {len(report.gaps)} strata" + (f", {hidden} not shown (--json)" if hidden else ""))
    say(report.protocol["false_alarms"])


def _row(gap: Any) -> tuple[str, ...]:
    return (
        f"{gap.kind} {gap.name}",
        gap.metric,
        f"{gap.value:.4f}",
        f"{gap.rest:.4f}",
        f"{gap.difference:+.4f}",
        f"{gap.low:+.3f} to {gap.high:+.3f}",
        _counted(gap),
        gap.verdict,
    )


def _counted(gap: Any) -> str:
    return f"{gap.count} images" if gap.unit == "images" else f"{gap.count} {gap.unit} in {gap.images} images"
