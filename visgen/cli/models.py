"""`visgen models`: what ships with the package."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from .output import JSON_OPTION, only_json, print_json, print_table, say, user_errors

__all__ = ["models"]


@user_errors
def models(
    name: Annotated[str | None, typer.Argument(help="Show the card of this model instead of the list.")] = None,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """List the shipped models, or show the card of one."""
    with only_json(as_json):
        from ..zoo import list_models
        from ..zoo.index import find_entry

        listed = list_models()
        if name is not None:
            if Path(name).is_dir():
                raise ConfigError(f"'{name}' is a folder; its card is '{Path(name) / 'README.md'}'.")
            folder, entry = find_entry(name)
            listed = {name: entry}
    if as_json:
        print_json({key: asdict(entry) for key, entry in listed.items()})
    elif name is not None:
        typer.echo((folder / entry.card).read_text(encoding="utf-8"))
    elif not listed:
        say("this visgen ships no model; train one with `visgen train`, or name a folder or Hub id with --model.")
    else:
        rows = [
            (key, ", ".join(e.tasks), f"{e.bytes / 2**20:.1f} MiB", _figures(e.metrics)) for key, e in listed.items()
        ]
        print_table(("model", "answers", "size", "figures"), rows)


def _figures(metrics: object) -> str:
    """One line per head or data set: "depth/kitti AbsRel 0.152"."""
    lines = []
    for name, values in dict(metrics or {}).items():  # type: ignore[call-overload]
        shown = values.items() if isinstance(values, dict) else [("", values)]
        lines.append(" ".join([name, *(f"{k} {v:.3f}" for k, v in shown if isinstance(v, (int, float)))]))
    return "\n".join(lines)
