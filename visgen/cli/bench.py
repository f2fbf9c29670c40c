"""`visgen bench NAME`: figures about speed, each beside a yardstick measured in the same process."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import UnknownName, nearest
from .benches import instruct, latency, moe, night, pipeline, train
from .output import user_errors

__all__ = ["app"]


class _Benches(TyperGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        _check_name(args[0], list(self.commands))
        return super().resolve_command(ctx, args)


@user_errors
def _check_name(name: str, known: list[str]) -> None:
    if name not in known:
        raise UnknownName(f"bench '{name}' is not known{nearest(name, known)} Known: {', '.join(known)}.")


app = typer.Typer(
    cls=_Benches,
    help="Measure speed: every figure beside a yardstick in the same process, runs interleaved, medians compared.",
    no_args_is_help=True,
)
app.command("latency")(latency.latency)
app.command("pipeline")(pipeline.pipeline)
app.command("moe")(moe.moe)
app.command("train")(train.train)
app.command("instruct")(instruct.instruct)
app.command("night")(night.night)
