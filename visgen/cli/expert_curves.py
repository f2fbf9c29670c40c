"""The curves of `visgen experts extract|budget --curve`: measured, printed, recorded and drawn."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .output import print_table, say

__all__ = [
    "MAIN_METRIC",
    "check_curve_options",
    "command_of",
    "draw_budget",
    "main_metric",
    "numbers",
    "run_extraction_curve",
    "write_curve",
]

MAIN_METRIC = {
    "classification": "top1",
    "detection": "AP50",
    "segmentation": "mIoU",
    "depth": "AbsRel",
    "scene_graph": "predcls/R@50",
}


def check_curve_options(
    command: Callable[..., Any], options: Mapping[str, Any], of_curve: Sequence[str], of_model: Sequence[str]
) -> None:
    """Refuse options that would do nothing: --record and --picture are of a curve, --out is of a model.

    Args:
        command: Knows the defaults.
        options: As given to it.
        of_curve, of_model: Further options that say something with --curve alone, or without it alone.
    Raises:
        ConfigError: One of them is given where it says nothing.
    """
    curve, parameters = options["curve"], inspect.signature(command).parameters
    if curve and options["out"] is not None:
        raise ConfigError(f"--out is '{options['out']}' but --curve saves no model; leave one of them out.")
    for name in of_model if curve else ("record", "picture", *of_curve):
        option, value = f"--{name.replace('_', '-')}", options[name]
        if value in (parameters[name].default, []):
            continue
        if curve:
            raise ConfigError(f"{option} is '{value}' but --curve does not go by it; leave one of them out.")
        raise ConfigError(f"{option} is '{value}' but it is of a curve; add --curve, or leave it out.")


def numbers(text: str, option: str, kind: type = float) -> list[Any]:
    """Read "0,0.03,0.1".

    Raises:
        ConfigError: Something that is no number.
    """
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(f"{option} is '{text}'; write numbers with commas between them, such as 1,2,4.") from error


def command_of(options: Mapping[str, Any], words: Sequence[str], skip: Sequence[str]) -> str:
    """Give the command that repeats a measurement, from the options of a command's function."""
    found = [*words]
    for name, value in options.items():
        if name in skip or value is None or value is False:
            continue
        for one in value if isinstance(value, list) else [value]:
            found += [f"--{name.replace('_', '-')}"] + ([] if one is True else [str(one)])
    return shlex.join(found)


def run_extraction_curve(model: str, loaded: Any, head: str, source: Any, stats: Any, options: Any) -> dict[str, Any]:
    """Measure the curve, print its table, and draw it where asked."""
    from ..experts.curves import extraction_curve

    curve = extraction_curve(
        loaded,
        head,
        source,
        stats,
        thetas=numbers(options["thetas"], "--thetas"),
        keeps=numbers(options["keeps"], "--keeps", int),
        seeds=numbers(options["seeds"], "--seeds", int),
        limit=options["limit"],
        progress=say,
    )
    key = main_metric(curve["full"], curve["head"])
    if not options["as_json"]:
        rows = [
            (
                f"theta {p['theta']:g}" if "theta" in p else f"keep {p['keep']}",
                ", ".join(map(str, p["experts"].values())),
                f"{p['parameters']:,}",
                f"{p['load'][key]:.4f}",
                f"{p['random'][key]['mean']:.4f} +- {p['random'][key]['std']:.4f}",
                f"{p['magnitude'][key]:.4f}",
            )
            for p in curve["points"]
        ]
        columns = ("cut", "experts", "parameters", "visited most", "random", "largest weights")
        print_table(columns, rows, title=_title(curve, key, model))
    if options["picture"] is not None:
        options["picture"].parent.mkdir(parents=True, exist_ok=True)
        _draw_extraction(curve, key, model).save(options["picture"])
    return curve


def _title(curve: Mapping[str, Any], key: str, model: str) -> str:
    """What the table stands beside: the full model, and what is left without any expert."""
    full, silent = curve["full"][key], curve["silent"][key]
    return f"{curve['head']} of {model}: {key} (full {full:.4f}, all experts silent {silent:.4f})"


def write_curve(
    record: Path, command: str, config: Any, seeds: Sequence[int], source: Any, split: str, protocol: Any, metrics: Any
) -> None:
    """Write the record of a curve."""
    from ..metrics import write_record

    write_record(
        record,
        command=command,
        config=config,
        seeds=list(seeds),
        data=source,
        split=split,
        protocol=protocol,
        metrics=metrics,
    )
    say(f"wrote {record}")


def main_metric(figures: Mapping[str, float], head: str) -> str:
    """The figure of a task that tables and pictures show."""
    wanted = MAIN_METRIC.get(head.partition(".")[0], "")
    return wanted if wanted in figures else next(iter(figures))


def _draw_extraction(curve: Mapping[str, Any], key: str, model: str) -> Any:
    from ..experts import draw_curves

    points = sorted((p for p in curve["points"] if "keep" in p), key=lambda p: p["keep"])
    lines = {
        "the full model": [(p["keep"], curve["full"][key]) for p in points],
        "all experts silent": [(p["keep"], curve["silent"][key]) for p in points],
        "experts that the task visits most": [(p["keep"], p["load"][key]) for p in points],
        "as many at random (bar: spread of the seeds)": [(p["keep"], p["random"][key]["mean"]) for p in points],
        "as many with the largest weights": [(p["keep"], p["magnitude"][key]) for p in points],
    }
    spread = [(p["keep"], min(p["random"][key]["values"]), max(p["random"][key]["values"])) for p in points]
    title = f"{curve['head']} of {model}: what is left when experts go"
    bands = {"as many at random (bar: spread of the seeds)": spread}
    return draw_curves(lines, title=title, across="experts kept in every routed layer", up=key, bands=bands)


def draw_budget(curve: Mapping[str, Any], key: str, model: str) -> Any:
    """Draw a metric over multiply-adds, one line for k and one for tau."""
    from ..experts import draw_curves

    points = curve["points"]
    kinds = {"at most k experts a token": "k", "as many as reach tau": "tau"}
    lines = {
        name: sorted((p["flops"] / 1e6, p["metrics"][key]) for p in points if kind in p or p["case"] == "full")
        for name, kind in kinds.items()
        if any(kind in p for p in points)
    }
    title = f"{curve['head']} of {model}: accuracy over cost"
    return draw_curves(lines, title=title, across="million multiply-adds of the backbone for an image", up=key)
