"""`visgen experts`: see the experts of a model, cut them out, add to them, spend less on them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .expert_changes import budget, extend
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["app", "open_data"]

app = typer.Typer(
    help="Experts of a mixture: see who uses which, cut some out as a model, add some, spend less on them.",
    no_args_is_help=True,
)

app.command("extend")(extend)
app.command("budget")(budget)

MODEL = typer.Argument(help="Shipped name, folder or Hub id.")
DATA = typer.Option(
    "--data",
    metavar="[TASK=]DATA",
    help="FORMAT:PATH, or a folder of pictures; may repeat. With TASK= it goes through that task only; else through "
    "the tasks that it has labels for, and without labels through all.",
)
SPLIT = typer.Option("--split", help="Part of the data sets.")
LIMIT = typer.Option("--limit", help="Pictures of each data set, evenly spaced.")


@app.command("stats")
@user_errors
def stats(
    model: Annotated[str, MODEL],
    data: Annotated[list[str], DATA],
    split: Annotated[str, SPLIT] = "val",
    limit: Annotated[int | None, LIMIT] = None,
    all_tasks: Annotated[
        bool, typer.Option("--all-tasks", help="Send all pictures through every task: compares routers, not data.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Save the statistics as JSON, for `extract`.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Save a heat map (PNG).")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Show which experts each task visits, how evenly, which are dead, and I(task; expert) of every layer."""
    with only_json(as_json):
        from ..experts import collect_expert_stats, draw_heat_map
        from ..zoo import load_heads

        loaded = load_heads(model, device)
        sources = open_data(loaded, data, split, all_tasks)
        found = collect_expert_stats(loaded, sources, limit, name=model, progress=_counter())
        for path in (out, picture):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
        if out is not None:
            found.save(out)
        if picture is not None:
            draw_heat_map(found).save(picture)
    if as_json:
        print_json(found.to_dict())
        return
    rows = []
    for layer in found.summary():
        for task, one in layer["by_task"].items():
            rows.append(
                (
                    layer["layer"],
                    task,
                    f"{one['experts_for_90_percent']} of {layer['experts']}",
                    f"{one['entropy']:.2f}",
                    _list(one["dead"]),
                    f"{layer['I/logT']:.3f}",
                    _list(layer["dead"]),
                )
            )
    columns = ("layer", "task", "experts for 90 %", "entropy / log E", "unused", "I / log T of layer", "dead in layer")
    print_table(columns, rows, title=f"{model}: " + ", ".join(map("{} {:,} tokens".format, found.tasks, found.rows)))
    for path in (out, picture):
        if path is not None:
            say(f"wrote {path}")


@app.command("extract")
@user_errors
def extract(
    model: Annotated[str, MODEL],
    task: Annotated[list[str], typer.Option("--task", help="Head, or task for its default head; may repeat.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to save the sub-network in.")] = None,
    data: Annotated[list[str] | None, DATA] = None,
    stats_file: Annotated[
        Path | None, typer.Option("--stats", help="Statistics saved by `visgen experts stats --out`, instead of data.")
    ] = None,
    theta: Annotated[float, typer.Option("--theta", help="Keep experts that more of the tokens visit.")] = 0.03,
    keep: Annotated[int | None, typer.Option("--keep", help="Keep this many experts a layer instead.")] = None,
    rule: Annotated[str, typer.Option("--rule", help="load, or its rivals random and magnitude.")] = "load",
    seed: Annotated[int, typer.Option("--seed", help="Of the random rule.")] = 0,
    sliced: Annotated[
        bool, typer.Option("--sliced", help="Cut the routers too; outputs then agree to rounding only.")
    ] = False,
    probes: Annotated[int, typer.Option("--probes", help="Pictures to measure the change of outputs on.")] = 8,
    split: Annotated[str, SPLIT] = "val",
    limit: Annotated[int | None, LIMIT] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Measure accuracy over size instead, beside both rivals; one task, one set.")
    ] = False,
    thetas: Annotated[str, typer.Option("--thetas", help="Points of the curve: theta.")] = "0,0.03,0.3",
    keeps: Annotated[str, typer.Option("--keeps", help="Points of the curve: experts a layer.")] = "1,2,3,4,6,8",
    seeds: Annotated[str, typer.Option("--seeds", help="Of the random rival in the curve.")] = "0,1,2",
    stats_split: Annotated[str, typer.Option("--stats-split", help="Part that tells who visits whom.")] = "train",
    stats_limit: Annotated[int, typer.Option("--stats-limit", help="Pictures of it, evenly spaced.")] = 100,
    record: Annotated[Path | None, typer.Option("--record", help="Write a record of the curve.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the curve (PNG).")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Cut out the experts that some tasks visit, as a model of its own: `visgen predict --model FOLDER` uses it."""
    options = dict(locals())
    if probes < 0:
        raise ConfigError(f"--probes is {probes}; use 0 or more pictures.")
    with only_json(as_json):
        from ..experts import ExpertStats, collect_expert_stats, extract_task
        from ..zoo import load_heads, save_pretrained
        from .expert_curves import check_curve_options

        of_curve = ("thetas", "keeps", "seeds", "stats_split", "stats_limit")
        check_curve_options(extract, options, of_curve, ("theta", "keep", "rule", "seed", "sliced", "probes"))
        if curve:
            found_curve = _extraction_curve(options)
    if curve:
        if as_json:
            print_json(found_curve)
        return
    with only_json(as_json):
        if (stats_file is None) == (not data):
            raise ConfigError("give either --stats FILE or --data, from which it is measured who visits which expert.")
        loaded = load_heads(model, "cpu")
        sources = open_data(loaded, data or [], split)
        if stats_file is not None:
            found = ExpertStats.load(stats_file)
        else:
            found = collect_expert_stats(loaded, sources, limit, name=model, progress=_counter())
        part, report = extract_task(
            loaded,
            task,
            theta,
            stats=found,
            keep=keep,
            exact=not sliced,
            rule=rule,
            seed=seed,
            probe=_probe(loaded, sources, probes),
        )
        if out is not None:
            save_pretrained(part, out)
    if as_json:
        print_json(report.to_dict())
        return
    rows = [
        (
            layer,
            f"{len(kept)} of {report.banks[layer]}",
            _list(kept),
            ", ".join(f"{route} {100 * rows[layer]:.2f} %" for route, rows in report.dropped.items()),
        )
        for layer, kept in report.experts.items()
    ]
    print_table(("layer", "experts", "kept", "visits lost"), rows, title=f"{', '.join(report.heads)} of {model}")
    counts = report.parameters
    say(
        f"parameters: {counts['after']:,} ({counts['same_heads']:,} with all experts, {counts['before']:,} with all "
        "experts and heads)"
    )
    for route, cost in report.flops.items():
        say(f"multiply-adds of {route}, one {report.size[0]}x{report.size[1]} image: {cost['after']:,}")
    for head, change in (report.change or {}).items():
        say(f"largest change of an output of {head}: {change:.3g}")
    if out is not None:
        say(f"wrote {out}; use it with: visgen predict PICTURE --model {out}")


def _extraction_curve(options: dict[str, Any]) -> dict[str, Any]:
    from ..data import build_source
    from ..experts import ExpertStats, collect_expert_stats
    from ..zoo import load_heads
    from .expert_curves import command_of, numbers, run_extraction_curve, write_curve

    model, heads, data = options["model"], options["task"], options["data"] or []
    if len(heads) != 1 or len(data) != 1:
        raise ConfigError(f"a curve is of one head on one data set, but {len(heads)} and {len(data)} are given.")
    loaded = load_heads(model, "cpu")
    head = loaded.resolve(heads[0])
    if options["stats_file"] is not None:
        stats = ExpertStats.load(options["stats_file"])
    else:
        seen = {head: build_source(data[0], options["stats_split"])}
        stats = collect_expert_stats(loaded, seen, options["stats_limit"], name=model, progress=_counter())
    source = build_source(data[0], options["split"])
    found = run_extraction_curve(model, loaded, head, source, stats, options)
    if options["record"] is not None:
        words = ["visgen", "experts", "extract", model]
        unused = ("model", "out", "theta", "keep", "rule", "seed", "sliced", "probes", "record", "picture", "as_json")
        file = options.pop("stats_file")
        told = options if file is None else {**options, "stats": file, "stats_limit": None, "stats_split": None}
        visited = f"{options['stats_split']}, {options['stats_limit']} images evenly spaced"
        protocol = {
            "head": head,
            "images": min(len(source), options["limit"] or len(source)),
            "visits": f"measured on {visited}" if file is None else f"read from {file}",
            "rivals": "random (a draw for each seed) and largest weight norm, the same number of experts per layer",
            "trained_again": False,
        }
        seeds = numbers(options["seeds"], "--seeds", int)
        command = command_of(told, words, unused)
        write_curve(options["record"], command, None, seeds, data[0], options["split"], protocol, found)
    return found


def open_data(model: Any, data: Sequence[str], split: str, all_tasks: bool = False) -> dict[str, list[Any]]:
    """Open "[TASK=]FORMAT:PATH" or folders of pictures, and say which routers of the model they go through.

    Raises:
        ConfigError: A data set has labels for no task of the model and names none.
        VisgenError: What opening the data raises, or a task that the model lacks.
    """
    from ..data import build_source
    from ..data.pictures import PictureFolder
    from ..experts import expert_banks, find_route

    expert_banks(model)  # a model without experts is told before data are read
    found: dict[str, list[Any]] = {}
    taken = [task for task in model.backbone.tasks if task in map(model.route, model.specs)]
    for text in data:
        task, equals, rest = text.partition("=")
        named = equals and ":" not in task and "/" not in task
        spec = rest if named else text
        source: Any = PictureFolder(spec) if Path(spec).is_dir() else build_source(spec, split)
        if all_tasks:
            routes = taken
        elif named:
            routes = [find_route(model, task)]
        elif source.heads:
            routes = [
                find_route(model, h if h in model.specs else t) for t, h in source.heads.items() if t in model.tasks
            ]
        else:
            routes = taken
        if not routes:
            raise ConfigError(
                f"data '{text}' has labels for {', '.join(source.heads)} but the model answers "
                f"{', '.join(model.tasks)}; write TASK={spec} to send it through a task."
            )
        for route in dict.fromkeys(routes):
            found.setdefault(route, []).append(source)
    return found


def _probe(model: Any, sources: dict[str, list[Any]], count: int) -> list[Any]:
    """The first pictures of each data set at working size, up to `count` in all."""
    from ..structures.working_size import resize_for_work

    distinct = {id(source): source for several in sources.values() for source in several}.values()
    each = -(-count // max(1, len(distinct)))
    pictures = [source[i].image for source in distinct for i in range(min(each, len(source)))]
    return [resize_for_work(p, model.max_side, model.min_side or None) for p in pictures[:count]]


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _counter() -> Any:
    if not sys.stderr.isatty():
        return None
    return lambda done, total: typer.echo(f"\r{done}/{total}", nl=done == total, err=True)
