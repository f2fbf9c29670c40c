"""`visgen finetune`: train a part of a model on a new label set, and show that nothing else moved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .evaluate import read_pairs
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["finetune", "run_finetune", "show_report"]


@user_errors
def finetune(
    model: Annotated[str, typer.Argument(help="Shipped name, folder or Hub id to start from.")],
    data: Annotated[str, typer.Option("--data", metavar="FORMAT:PATH", help="Such as imagefolder:pets.")],
    experts: Annotated[
        str,
        typer.Option(
            "--experts",
            help="head, router, top:N, bottom:N, new:N, numbers such as 1,3, full, lora or lora:RANK.",
        ),
    ] = "top:4",
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; the model is in its `last`.")] = Path(
        "runs/finetune"
    ),
    task: Annotated[str | None, typer.Option("--task", help="Task, where the data have labels for several.")] = None,
    split: Annotated[str, typer.Option("--split", help="Part to train on.")] = "train",
    val_split: Annotated[str, typer.Option("--val-split", help="Part to measure on; empty for none.")] = "val",
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the reader.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Training steps.")] = 300,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures of a step.")] = 16,
    lr: Annotated[float, typer.Option("--lr", help="Peak learning rate.")] = 1e-3,
    size: Annotated[int | None, typer.Option("--size", help="Longer side in pixels; else the model's own.")] = None,
    router_steps: Annotated[
        int, typer.Option("--router-steps", help="First so many steps train head and routers; then experts are chosen.")
    ] = 0,
    keep_heads: Annotated[bool, typer.Option("--keep-heads", help="Keep the heads that the model has.")] = False,
    match: Annotated[str, typer.Option("--match", help="lora takes as many parameters as this selection.")] = "top:4",
    cache_mb: Annotated[
        int,
        typer.Option("--cache", metavar="MB", help="Remember the frozen stem's maps; pictures then stay as they are."),
    ] = 0,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Change a value of the run; may repeat.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of head, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, or an accelerator.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Fine-tune a part of a mixture of experts on your data.

    The report names what trains, and hashes prove that nothing else moved. The saved model is used like any other:
    visgen predict PHOTO.jpg --model OUT/last.
    """
    with only_json(as_json):
        from ..zoo import load_heads

        loaded = load_heads(model, "cpu")
        longest = loaded.max_side if size is None else size
        shrink, vary = _transforms(longest, cache_mb > 0)
        read = read_pairs(option or [], "--option")
        common: dict[str, Any] = {"source": data, "options": read, "cache": True, "batch_size": batch_size}
        if task is not None:
            common["head"] = _head(data, split, read, task)
        run: dict[str, Any] = {
            "finetune": {
                "model": model,
                "experts": experts,
                "keep_heads": keep_heads,
                "router_steps": router_steps,
                "match": match,
                "cache_mb": cache_mb,
            },
            "model": {"max_side": longest, "min_side": min(longest, max(loaded.min_side, size or 0))},
            "data": {
                "train": {"train": {**common, "split": split, "shrink": shrink, "transforms": vary}},
                "val": {"val": {**common, "split": val_split, "batch_size": 8, "max_side": longest}},
            },
            "optim": {"lr": lr, "warmup_steps": steps // 20, "min_lr_ratio": 0.01},
            "train": {"steps": steps, "device": device, "log_every": 10, "workers": 0},
            "seed": seed,
            "out": str(out),
        }
        if not val_split:
            run["data"]["val"] = {}
        report = run_finetune(run, setting or [], loaded, resume=resume)
    show_report(report, as_json)


def run_finetune(run: dict[str, Any], overrides: list[str], loaded: Any = None, **options: Any) -> Any:
    """Check a run given as plain values, train it with `save_pretrained` as its export, and give the report."""
    from ..config import RunConfig, apply_overrides, from_mapping
    from ..experts import finetune as tune
    from ..zoo import load_heads, save_pretrained

    config = from_mapping(RunConfig, apply_overrides(run, overrides))
    assert config.finetune is not None
    return tune(loaded or load_heads(config.finetune.model, "cpu"), config, export=save_pretrained, **options)


def show_report(report: Any, as_json: bool) -> None:
    """Print what trained, the proof and the figures."""
    found = report.to_dict()
    if as_json:
        print_json(found)
        return
    trainable = report.trainable
    rows = [(part, f"{count:,}", _short(trainable.names[part])) for part, count in trainable.parameters.items()]
    share = 100 * trainable.trained / trainable.total
    rows.append(("trained", f"{trainable.trained:,}", f"{share:.2f} % of {trainable.total:,}"))
    print_table(("part", "parameters", "tensors"), rows, title=f"{found['model']}, experts {found['experts']}")
    for layer, chosen in trainable.experts.items():
        say(f"{layer}: experts {', '.join(map(str, chosen))}")
    proof = report.movement
    say(f"{proof.frozen} other tensors are bit for bit as before (sha256 {proof.frozen_hash[:16]})")
    for label, names in (("unchanged heads", report.untouched), ("heads that may answer otherwise", report.changed)):
        if names:
            say(f"{label}: {', '.join(names)}")
    summary = report.summary
    say(f"ended by: {summary.reason}, step {summary.steps}, {found['seconds_per_step']:.3f} s a step")
    if summary.metrics:
        say("val: " + ", ".join(f"{k} {v:.4f}" for k, v in summary.metrics.items() if k.count("/") == 1))
    say(f"in {summary.out}" + ("/last" if summary.finished else "; go on with --resume"))


def _short(names: tuple[str, ...]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _transforms(longest: int, is_fixed: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Transforms without chance, then those with; pictures are brought to one square size so that they stack."""
    if is_fixed:
        return [{"name": "resize", "size": [longest, longest]}], []
    return [], [
        {"name": "random_resized_crop", "size": longest, "scale": [0.5, 1.0], "ratio": [0.8, 1.25]},
        {"name": "horizontal_flip"},
    ]


def _head(data: str, split: str, options: dict[str, Any], task: str) -> str:
    from ..data import build_source

    heads = build_source(data, split, **options).heads
    if task not in heads:
        raise ConfigError(f"--task is '{task}' but the data have labels for {', '.join(heads)}; choose one of these.")
    return heads[task]
