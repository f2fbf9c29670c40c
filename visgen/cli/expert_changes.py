"""`visgen experts extend` and `visgen experts budget`: one more task, and fewer experts for a token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .benches.clock import REPEATS_OPTION, THREADS_OPTION, check_counts, compute_threads, interleave
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["budget", "extend", "read_layers"]

MODEL = typer.Argument(help="Shipped name, folder or Hub id.")


@user_errors
def extend(
    model: Annotated[str, MODEL],
    head: Annotated[str, typer.Option("--head", help="Name of the new head, such as classification.pets.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to save the extended model in.")],
    data: Annotated[
        str | None, typer.Option("--data", metavar="FORMAT:PATH", help="Its data set, which tells the class names.")
    ] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="Class names with commas, instead of data.")] = None,
    split: Annotated[str, typer.Option("--split", help="Part of the data set.")] = "train",
    new_experts: Annotated[int, typer.Option("--new-experts", help="Experts to add to every routed layer.")] = 0,
    init: Annotated[str, typer.Option("--init", help="They start as copy_top, random or mean.")] = "copy_top",
    router_init: Annotated[str, typer.Option("--router-init", help="copy, random or mean.")] = "copy",
    like: Annotated[str | None, typer.Option("--like", help="Task to start from; the head's own if left out.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Pictures that tell which experts are visited most.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Of all that starts fresh.")] = 0,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Add a task with a router, a head and perhaps experts of its own; what the model answered before stays equal.

    Train it afterwards: visgen finetune FOLDER --data ... --experts new:N (or router) --keep-heads.
    """
    with only_json(as_json):
        from ..data import build_source
        from ..experts import add_task, collect_expert_stats
        from ..task import TASKS, HeadSpec
        from ..zoo import load_heads, save_pretrained

        task = head.partition(".")[0]
        TASKS.get(task)  # a misspelt one is named with its nearest
        loaded = load_heads(model, "cpu")
        source: Any = None if data is None else build_source(data, split)
        if source is not None and task not in source.classes:
            raise ConfigError(f"data '{data}' has labels for {', '.join(source.heads) or 'nothing'}, not for '{task}'.")
        names = tuple(source.classes[task]) if source is not None else ()
        if classes is not None:
            names = tuple(name.strip() for name in classes.split(",") if name.strip())
        usage = None
        if new_experts and init == "copy_top":
            if source is None:
                raise ConfigError(
                    "--init copy_top copies the experts that pictures visit most, so it needs --data; or start with "
                    "--init mean or random."
                )
            usage = collect_expert_stats(loaded, {like or task: source}, limit, name=model)
        report = add_task(
            loaded,
            head,
            HeadSpec(task, names),
            new_experts=new_experts,
            init=init,
            router_init=router_init,
            like=like,
            usage=usage,
            seed=seed,
        )
        save_pretrained(loaded, out)
    if as_json:
        print_json(report.to_dict())
        return
    rows = [(layer, ", ".join(map(str, numbers)) or "none") for layer, numbers in report.experts.items()]
    print_table(("layer", "new experts"), rows, title=f"{head}: router '{report.route}', started from {report.like}")
    say("added values: " + ", ".join(f"{part} {count:,}" for part, count in report.parameters.items()))
    say(f"wrote {out}")


@user_errors
def budget(
    model: Annotated[str, MODEL],
    task: Annotated[list[str], typer.Option("--task", help="Task, head or router; may repeat.")],
    k: Annotated[int | None, typer.Option("--k", help="Experts per token, at most, in every layer.")] = None,
    tau: Annotated[float | None, typer.Option("--tau", help="As many as reach this router probability.")] = None,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="LAYER:N,N", help="The only experts; may repeat.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", metavar="LAYER:N,N", help="Experts to leave out; may repeat.")
    ] = None,
    merge: Annotated[float | None, typer.Option("--merge", help="Use experts of at least this cosine as one.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take budgets away that were saved before.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to save the model with its budget in.")] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FORMAT:PATH", help="Measure the cost on its pictures.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Part of the data set.")] = "val",
    limit: Annotated[int | None, typer.Option("--limit", help="Pictures to measure accuracy on.")] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Measure accuracy, FLOPs and latency over k and tau instead.")
    ] = False,
    ks: Annotated[str, typer.Option("--ks", help="Points of the curve: k.")] = "1,2,3",
    taus: Annotated[str, typer.Option("--taus", help="Points of the curve: tau.")] = "0.3,0.6,0.9",
    threads: Annotated[int, THREADS_OPTION] = 2,
    repeats: Annotated[int, REPEATS_OPTION] = 25,
    record: Annotated[Path | None, typer.Option("--record", help="Write a record of the curve.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw the curve (PNG).")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Let the tokens of a task visit fewer experts; nothing is trained, and --reset takes it back."""
    options = dict(locals())
    with only_json(as_json):
        from ..experts import budget_cost, find_route, near_duplicates, reset_budget, set_budget
        from ..zoo import load_heads, save_pretrained
        from .expert_curves import check_curve_options

        of_model = ("k", "tau", "allow", "deny", "merge", "reset")
        check_curve_options(budget, options, ("ks", "taus", "limit", "threads", "repeats"), of_model)
        loaded = load_heads(model, "cpu")
        if not curve:
            if reset:
                reset_budget(loaded, task)
            named = (k, tau, allow, deny, merge)
            if out is not None and not reset and all(value in (None, []) for value in named):
                raise ConfigError(
                    f"--out is '{out}' but no budget is named; give --k, --tau, --allow, --deny or --merge."
                )
            groups = None if merge is None else near_duplicates(loaded, merge)
            set_budget(
                loaded, task, k=k, tau=tau, allow=read_layers(allow, "--allow"), deny=read_layers(deny, "--deny"),
                merge=groups,
            )  # fmt: skip
            routes = {find_route(loaded, one) for one in task}
            say(f"heads of this budget: {', '.join(h for h in loaded.specs if loaded.route(h) in routes)}")
            images = _pictures(loaded, data, split)
            found: Any = {one: budget_cost(loaded, one, images) for one in task}
            if out is not None:
                save_pretrained(loaded, out)
        else:
            found = _curve(loaded, options)
    if as_json:
        print_json(found)
    elif not curve:
        for one, cost in found.items():
            rows = [(layer, f"{mean:.2f}") for layer, mean in cost["visits"].items()]
            title = f"{one}: {cost['flops']:,} multiply-adds an image, {cost['active_parameters']:,} active parameters"
            print_table(("layer", "experts per token"), rows, title=title)
        say("nothing was saved; --out FOLDER keeps a model with this budget" if out is None else f"wrote {out}")


def read_layers(texts: Sequence[str] | None, option: str) -> dict[str, list[int]] | None:
    """Read "blocks.3.mlp:0,2" into {layer: experts}; None for none.

    Raises:
        ConfigError: No colon, or something that is no number.
    """
    found: dict[str, list[int]] = {}
    for text in texts or ():
        layer, colon, rest = text.partition(":")
        try:
            numbers = [int(part) for part in rest.split(",")]
        except ValueError:
            numbers = []
        if not colon or not numbers:
            raise ConfigError(f"{option} is '{text}'; write LAYER:N,N such as blocks.3.mlp:0,2.")
        found.setdefault(layer, []).extend(numbers)
    return found or None


def _pictures(model: Any, data: str | None, split: str, count: int = 8) -> list[Any]:
    """Pictures to measure cost on: the first of the data, or without data one of random values."""
    import torch

    from ..data import build_source
    from ..structures.working_size import resize_for_work

    if data is None:
        return [torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0))]
    source = build_source(data, split)
    pictures = [source[i].image for i in range(min(count, len(source)))]
    return [resize_for_work(picture, model.max_side, model.min_side or None) for picture in pictures]


def _curve(loaded: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Measure, print, draw and record the curve of one head."""
    from functools import partial

    from ..data import build_source
    from ..experts.curves import budget_curve
    from .expert_curves import command_of, draw_budget, main_metric, numbers, write_curve

    heads, data, threads, repeats = options["task"], options["data"], options["threads"], options["repeats"]
    if len(heads) != 1 or data is None:
        raise ConfigError("a curve is of one head on labelled data; give one --task and --data.")
    check_counts(threads, repeats)
    source = build_source(data, options["split"])
    with compute_threads(threads):
        found = budget_curve(
            loaded,
            heads[0],
            source,
            ks=numbers(options["ks"], "--ks", int),
            taus=numbers(options["taus"], "--taus"),
            limit=options["limit"],
            clock=partial(interleave, repeats=repeats),
            progress=say,
        )
    key = main_metric(found["points"][0]["metrics"], found["head"])
    if not options["as_json"]:
        rows = [
            (
                p["case"],
                f"{p['metrics'][key]:.4f}",
                f"{p['flops'] / 1e6:.1f}",
                f"{p['latency_ms']:.1f}",
                ", ".join(f"{mean:.2f}" for mean in p["visits"].values()),
            )
            for p in found["points"]
        ]
        columns = ("budget", key, "M multiply-adds", "ms", "experts per token")
        print_table(columns, rows, title=f"{found['head']} of {options['model']}, {threads} threads")
    if options["picture"] is not None:
        options["picture"].parent.mkdir(parents=True, exist_ok=True)
        draw_budget(found, key, options["model"]).save(options["picture"])
    if options["record"] is not None:
        shown = ("task", "data", "split", "limit", "curve", "ks", "taus", "threads", "repeats")
        words = ["visgen", "experts", "budget", options["model"]]
        command = command_of(options, words, [name for name in options if name not in shown])
        protocol = {
            "head": found["head"],
            "images": min(len(source), options["limit"] or len(source)),
            "flops": "multiply-adds of the backbone by fvcore, mean over the first 8 images",
            "latency": f"from tensor to typed answer, first image, median of {repeats} interleaved, {threads} threads",
            "trained_again": False,
        }
        write_curve(options["record"], command, None, [], data, options["split"], protocol, found)
    return found
