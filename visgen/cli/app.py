"""The commands and the entry point."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from . import bench, data, doctor, evaluate, experts, export, finetune, fit, kernels, models, predict, train
from .output import show_tracebacks

__all__ = ["app", "main"]

app = typer.Typer(
    name="visgen",
    help="Several vision tasks from one model: predict, evaluate, train. Exit code 2 means that the input was wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("finetune")(finetune.finetune)
app.command("fit")(fit.fit)
app.add_typer(data.app, name="data")
app.add_typer(experts.app, name="experts")
app.command("export")(export.export)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)
app.add_typer(bench.app, name="bench")
app.add_typer(kernels.app, name="kernels")


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"visgen {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    show_tracebacks(debug)


def main() -> None:
    """Entry point of the `visgen` command."""
    words = sys.argv[1:]
    if "--debug" in words:  # an option of all commands, wherever it is written
        words = ["--debug", *(w for w in words if w != "--debug")]
    else:
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # without file and line
    app(args=words, prog_name="visgen")
