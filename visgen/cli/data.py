"""`visgen data check|make|list`: what a data set holds, what is wrong with it, and data sets made here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .close import close
from .gaps import gaps
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["app"]

app = typer.Typer(help="List data sets, check one before hours are lost on it, or make one.", no_args_is_help=True)
app.command("gaps")(gaps)
app.command("close")(close)


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


@app.command("make")
@user_errors
def make(
    data: Annotated[
        str,
        typer.Argument(
            metavar="town:PRESET|night:GENERATOR",
            help="Scenes to render, such as 'town:street?time=both&size=192x256', or a trained day-to-night generator.",
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make; nothing may be there yet.")],
    count: Annotated[
        int | None, typer.Option("--count", help="Number of scenes, or of pictures at most; else that of DATA, or 100.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option("--from", help="night: folder of the pictures that are turned to night.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val or test: no scene is in two of them.")] = "train",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Another seed gives other scenes; else that of DATA, or 0.")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Render procedural scenes with exact labels into files, or turn pictures to night.

    town: boxes, masks, semantic maps, depth and scene graphs. night: one PNG for each picture, and sheet.png with day
    beside night.
    """
    if data.startswith("night:"):
        if seed is not None or split != "train":
            with only_json(as_json):
                raise ConfigError("--seed and --split are for town:PRESET; a picture has one night, so leave them out.")
        _make_night(data.removeprefix("night:"), pictures, out, 100 if count is None else count, as_json)
        return
    with only_json(as_json):
        from ..data import build_source
        from ..data.source import split_spec
        from ..data.town import write_dataset

        form, path = split_spec(data)
        if pictures is not None:
            raise ConfigError(f"--from is for night:GENERATOR, but the data is '{data}'; leave it out.")
        if form != "town":
            raise ConfigError(
                f"data '{data}' has the format '{form}'; write town:PRESET for scenes or night:GENERATOR for nights."
            )
        if count is None and "count=" not in path:
            count = 100
        given = {key: value for key, value in (("count", count), ("seed", seed)) if value is not None}
        source: Any = build_source(data, split, **given)
        if count is None:  # that of an address counts pictures, and a scene by day and by night is two
            count = -(-len(source) // (2 if source.config.time == "both" else 1))
        seed = int(source.seed)
        folder = write_dataset(source.config, count, out, seed=seed, split=split, progress=_bar(count))
    opened = [f"coco:{folder}", f"semantic:{folder}", f"depth:{folder} (split depth_{split})"]
    opened.append(f"scene-graph:{folder / 'scene_graph'}")
    if as_json:
        print_json({"out": str(folder), "scenes": count, "split": split, "seed": seed, "opens_as": opened})
    else:
        say(f"wrote {count} scenes to {folder}; read them as {', '.join(opened)}")


def _make_night(place: str, pictures: Path | None, out: Path, count: int, as_json: bool) -> None:
    with only_json(as_json):
        from ..gan.night import load_night, turn_to_night

        if pictures is None:
            raise ConfigError("no pictures to turn to night; name their folder with --from.")
        written = turn_to_night(load_night(place), pictures, out, count)
    if as_json:
        print_json({"out": str(out), "pictures": len(written), "generator": place, "sheet": str(out / "sheet.png")})
    else:
        say(f"wrote {len(written)} nights to {out / 'night'}; day beside night: {out / 'sheet.png'}")


def _bar(total: int) -> Callable[[int], None] | None:
    """Count on standard error when a person is watching."""
    if not sys.stderr.isatty():
        return None
    return lambda done: typer.echo(f"\r{done}/{total}", nl=done == total, err=True)
