"""`visgen train`: one YAML file is one run."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..errors import VisgenError
from .output import JSON_OPTION, only_json, print_json, say, user_errors

__all__ = ["train"]


@user_errors
def train(
    config: Annotated[str, typer.Argument(help="Run file, or the name of a shipped one such as multitask/joint.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Change a value of the file; may repeat.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="One step, one evaluation, one save; nothing is left behind.")
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="MIN", help="Save and stop after so many minutes.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", envvar="VISGEN_DATA", help="What ${data_root} in the file stands for.")
    ] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Train what a run file describes; its folder then holds config, logs, checkpoints and the best and last model."""
    with only_json(as_json):
        from ..engine import train_from_config
        from ..experts import finetune
        from ..zoo import load_heads, save_pretrained

        summary = train_from_config(
            _find(config),
            overrides or [],
            resume=resume,
            dry_run=dry_run,
            time_limit=time_limit,
            data_root=data_root,
            export=save_pretrained,
            finetuner=lambda run, **given: finetune(load_heads(run.finetune.model, "cpu"), run, **given).summary,
        )
    if as_json:
        print_json({**asdict(summary), "finished": summary.finished})
        return
    shown = ", ".join(f"{name} {value:.4f}" for name, value in summary.metrics.items())
    say(f"ended by: {summary.reason}, step {summary.steps}, {summary.seconds / 60:.1f} min, {summary.skipped} skipped")
    if shown:
        say(f"last evaluation: {shown}")
    if summary.best:
        say(f"best: {summary.best['metric']} {summary.best['value']:.4f} at step {summary.best['step']}")
    if not dry_run:
        words = ["visgen", "train", config, *(w for o in overrides or [] for w in ("--set", o))]
        words += [] if data_root is None else ["--data-root", str(data_root)]
        last = Path(summary.out) / "last"
        say(
            f"in {last if last.is_dir() else summary.out}"
            + ("" if summary.finished else f"; go on with: {shlex.join(words)} --resume")
        )


def _find(config: str) -> Path:
    """A file as given, else the shipped run file of that name, else the path as given, which its reader refuses."""
    from ..shipped import shipped_path

    path = Path(config)
    if path.exists():
        return path
    for name in (config, f"configs/{config}", f"configs/{config}.yaml"):
        try:
            found = shipped_path(name)
        except VisgenError:
            continue
        if found.is_file():
            return found
    return path
