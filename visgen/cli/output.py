"""What every command shares: errors without tracebacks, JSON alone on standard output, tables."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ..errors import ConfigError, VisgenError

__all__ = ["JSON_OPTION", "only_json", "print_json", "print_table", "say", "show_tracebacks", "to_json", "user_errors"]

JSON_OPTION = typer.Option("--json", help="Print JSON and nothing else on standard output.")
_show = {"tracebacks": False}


def show_tracebacks(wanted: bool) -> None:
    """Let `user_errors` pass errors on (`--debug`)."""
    _show["tracebacks"] = wanted


def user_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn what a user can cause (any VisgenError, a folder that cannot be written) into a message and exit code 2."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            _check_names(kwargs, command.__name__)
            return command(*args, **kwargs)
        except BrokenPipeError:  # `visgen ... | head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (VisgenError, OSError) as error:
            if _show["tracebacks"]:
                raise
            say(f"error: {error}")
            raise typer.Exit(2) from None

    return guarded


def _check_names(options: Mapping[str, Any], command: str) -> None:
    """Refuse names of records, pictures and folders that could not be written, before anything is measured."""
    out = options.get("out")
    for place in (out, *out.parents) if isinstance(out, Path) and command not in ("stats", "gaps") else ():
        if place.is_file():
            raise ConfigError(f"--out is '{out}' but '{place}' is a file; give the name of a folder.")
    for option, endings in (("record", (".json",)), ("picture", (".png", ".PNG"))):
        path = options.get(option)
        if isinstance(path, Path) and path.suffix not in endings:
            raise ConfigError(f"--{option} '{path.name}' does not end in {endings[0]}, as it must; rename it.")


@contextmanager
def only_json(wanted: bool) -> Iterator[None]:
    """While open, send what libraries print to standard error, so that standard output holds JSON alone."""
    if not wanted:
        yield
        return
    kept, sys.stdout = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout = kept


def to_json(value: Any, indent: int | None = 1) -> str:
    """Give strict JSON: NaN and infinity become null."""
    return json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)


def print_json(value: Any) -> None:
    """Print strict JSON on standard output."""
    typer.echo(to_json(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def say(text: str) -> None:
    """Print a remark on standard error."""
    typer.echo(_printable(text), err=True)


def _printable(text: str) -> str:
    """Write control characters out: a file name may hold a sequence that takes over the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table as wide as the terminal; text is shown as it is, never read as markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if title:
        typer.echo(title)
    table = Table(box=box.SIMPLE_HEAD)
    for i, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=False, ratio=None, style="bold" if i == 0 else "")
    for row in rows:
        table.add_row(*(Text(_printable(str(cell))) for cell in row))
    is_terminal = sys.stdout.isatty()
    Console(file=sys.stdout, width=None if is_terminal else 160, highlight=False).print(table)
