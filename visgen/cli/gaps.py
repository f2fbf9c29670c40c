"""`visgen data gaps`: where a model is weak on labelled data."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

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
    share: Annotated[
        float, typer.Option("--share", help="Look for gaps in this share of the split; the rest is for the report.")
    ] = 0.5,
    held_out: Annotated[
        float | None, typer.Option("--held-out", help="Look in this share of the training part instead.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="KEY=VALUE", help="Option of the figures, such as k=50.")
    ] = None,
    least: Annotated[float, typer.Option("--least", help="Smallest shortfall that matters.")] = 0.05,
    min_images: Annotated[int, typer.Option("--min-images", help="A stratum with fewer is not called weak.")] = 10,
    limit: Annotated[int | None, typer.Option("--limit", help="Use so many samples, evenly spaced.")] = None,
    max_side: Annotated[
        int | None, typer.Option("--max-side", help="Longer side fed in; the model's own if left out.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures of one size at a time.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the resamples behind the intervals.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    as_json: Annotated[bool, JSON_OPTION] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No counter on standard error.")] = False,
) -> None:
    """List where a model is weak: classes, sizes, dark pictures, depths, compositions.

    Each stratum is compared with the rest of the data; one with too few pictures is said to be so, not called weak.
    Gaps are looked for in one half of the split, by a hash of the pictures' names, so that the other half can tell
    later what closing them gained.
    """
    with only_json(as_json):
        from ..engine.gaps import survey
        from ..zoo import load_model

        loaded = load_model(model, device)
        found = survey(
            loaded,
            data,
            name=model,
            tasks=task or (),
            split=split,
            train_split=train_split,
            share=share,
            held_out=held_out,
            options=read_pairs(option or [], "--option"),
            metric=read_pairs(metric or [], "--metric"),
            batch_size=batch_size,
            max_side=max_side or loaded.max_side,
            min_side=min(loaded.min_side, max_side or loaded.max_side) or None,
            limit=limit,
            device=device,
            seed=seed,
            least=least,
            min_images=min_images,
            progress=None if quiet or not sys.stderr.isatty() else counter(),
        )
    if as_json:
        print_json(report_of(found))
        return
    for one in found.found:
        show_report(one)


def report_of(found: Any) -> dict[str, Any]:
    """Give a survey as plain values."""
    rows = [{"data": one.data, "split": one.looked.split, **one.report.to_dict()} for one in found.found]
    return {"model": found.model, "data": rows}


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
        f"{gap.count} {gap.unit} in {gap.images}",
        gap.verdict,
    )
