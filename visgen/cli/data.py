"""`visgen data check|make|list`: what a data set holds, what is wrong with it, and data sets made here."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["app"]

app = typer.Typer(help="List data sets, check one before hours are lost on it, or make one.", no_args_is_help=True)


@app.command("list")
@user_errors
def list_(
    name: Annotated[str | None, typer.Argument(help="Show the card of this data set instead of the list.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the formats that are read and the public data sets that have a card, or show one card."""
    with only_json(as_json):
        from ..data import FORMATS
        from ..data.catalogue import dataset_card, list_datasets

        cards = list_datasets() if name is None else [dataset_card(name)]
    if as_json:
        print_json({"formats": list(FORMATS), "data": {card.name: card.to_dict() for card in cards}})
    elif name is not None:
        typer.echo(cards[0].text)
    else:
        rows = [
            (
                c.name,
                ", ".join(c.tasks),
                f"{c.format}:PATH",
                "\n".join(f"{k} {v}" for k, v in c.counts.items()),
                c.terms,
            )
            for c in cards
        ]
        print_table(("data set", "tasks", "read as", "samples", "terms"), rows)
        say(f"formats: {', '.join(FORMATS)}; check one with: visgen data check FORMAT:PATH")


@app.command("check")
@user_errors
def check(
    data: Annotated[str, typer.Argument(metavar="FORMAT:PATH", help="Such as coco:my_set or semantic:camvid.")],
    split: Annotated[list[str] | None, typer.Option("--split", help="Splits to read; may repeat.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Read so many samples of each split.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader.")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Read a whole data set: broken files, wrong ids and boxes, class counts, leaks between splits.

    Exit code 1 when something is an error.
    """
    with only_json(as_json):
        from ..data.check import check_source
        from .evaluate import read_pairs

        report = check_source(data, split or None, limit, **read_pairs(option or [], "--option"))
    if as_json:
        print_json(report.to_dict())
    else:
        typer.echo(report.table())
    raise typer.Exit(report.exit_status)
