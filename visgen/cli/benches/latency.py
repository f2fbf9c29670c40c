"""`visgen bench latency`: one picture through each head and through all, beside a plain vision transformer."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..output import JSON_OPTION, only_json, print_json, print_table, user_errors
from .arithmetic import count_flop
from .clock import (
    RECORD_OPTION,
    REPEATS_OPTION,
    THREADS_OPTION,
    check_counts,
    compute_threads,
    environment,
    interleave,
)

__all__ = ["latency", "measure_latency"]

YARDSTICK = "vit_tiny_patch16_224"
HEIGHT, WIDTH = 240, 320


@user_errors
def latency(
    model: Annotated[str | None, typer.Option("--model", help="Shipped name, folder or Hub id.")] = None,
    threads: Annotated[int, THREADS_OPTION] = 2,
    repeats: Annotated[int, REPEATS_OPTION] = 25,
    as_json: Annotated[bool, JSON_OPTION] = False,
    record: Annotated[Path | None, RECORD_OPTION] = None,
) -> None:
    """Each head alone, one head per task together, and all heads together, for one 320x240 picture.

    Beside timm's vit_tiny_patch16_224 at 224x224, all on the CPU. The runs of all cases are interleaved, so that a
    busy machine slows each alike; the ratio is what to compare. Beside it stands the ratio of what is computed, which
    is all that would be left of a latency if no time went anywhere else.
    """
    check_counts(threads, repeats)
    with only_json(as_json):
        report = measure_latency(model, threads, repeats)
    if record is not None:
        _write(record, report)
    if as_json:
        print_json(report)
        return
    rows = [
        (
            r["case"],
            f"{r['median_ms']:.1f}",
            f"{r['gflop']:.2f}",
            f"{r['ratio']:.2f} x",
            f"{r['flop_ratio']:.2f} x",
            r["against"],
        )
        for r in report["rows"]
    ]
    env = report["environment"]
    title = f"latency: {report['model']}, {env['threads']} threads, torch {env['torch']}, median of {repeats}"
    print_table(("case", "ms", "GFLOP", "ratio", "of GFLOP", "against"), rows, title=title)


def measure_latency(model: str | None, threads: int, repeats: int) -> dict[str, Any]:
    """Time one picture from tensor to typed answers: per head, for one head of each task, and for all heads.

    Returns:
        {"bench", "model", "environment", "rows"}; a row has case, heads, dtype, pass, median_ms, lowest_ms, gflop,
        ratio and flop_ratio (of milliseconds and of operations), and against (the case that they divide by).
    """
    import timm
    import torch

    from ...zoo import DEFAULT_MODEL, load_heads

    with compute_threads(threads), torch.no_grad():
        name = model or DEFAULT_MODEL
        loaded = load_heads(name, "cpu")
        yardstick = timm.create_model(YARDSTICK, pretrained=False).eval()
        generator = torch.Generator().manual_seed(0)
        picture = torch.rand(1, 3, HEIGHT, WIDTH, generator=generator)
        square = torch.rand(1, 3, 224, 224, generator=generator)
        heads = list(loaded.specs)
        cases: dict[str, Callable[[], Any]] = {f"timm {YARDSTICK} 224x224": partial(yardstick, square)}
        answered: dict[str, list[str]] = {f"timm {YARDSTICK} 224x224": []}
        size = f"{WIDTH}x{HEIGHT}"
        tasks = [loaded.default_heads[task] for task in loaded.tasks]
        together = {f"all {len(tasks)} tasks {size}": tasks, f"all {len(heads)} heads {size}": heads}
        for label, asked in [*((f"{h} {size}", [h]) for h in heads), *together.items()]:
            cases[label] = partial(loaded.predict, picture, asked)
            answered[label] = asked
        seconds = interleave(cases, repeats)
        flop = {label: count_flop(call) for label, call in cases.items()}
    median = {label: statistics.median(values) for label, values in seconds.items()}
    against = next(iter(cases))
    alone = sorted((label for label in cases if len(answered[label]) == 1), key=lambda label: median[label])

    def row(label: str, yard: str) -> dict[str, Any]:
        return {
            "case": label,
            "heads": answered[label],
            "dtype": "float32",
            "pass": "predict" if answered[label] else "forward",
            "median_ms": median[label] * 1e3,
            "lowest_ms": min(seconds[label]) * 1e3,
            "gflop": flop[label] / 1e9,
            "ratio": median[label] / median[yard],
            "flop_ratio": flop[label] / flop[yard],
            "against": yard,
        }

    rows = [row(label, against) for label in cases]
    yards: dict[str, Callable[[dict[str, Any]], float]] = {
        "the middle one of the heads alone": lambda of: statistics.median(of[label] for label in alone),
        "the mean of the heads alone": lambda of: statistics.mean(of[label] for label in alone),
        f"the slowest head alone ({alone[-1]})": lambda of: of[alone[-1]],
        "each head alone, summed": lambda of: sum(of[label] for label in alone),
    }
    for label in together:
        for against_what, yard in yards.items():
            ratios = {"ratio": median[label] / yard(median), "flop_ratio": flop[label] / yard(flop)}
            rows.append({**row(label, against), **ratios, "against": against_what})
    return {"bench": "latency", "model": name, "environment": environment(threads, repeats, ["timm"]), "rows": rows}


def _write(record: Path, report: dict[str, Any]) -> None:
    from ...metrics import write_record

    env = report["environment"]
    counts = f"--threads {env['threads']} --repeats {env['repeats']}"
    write_record(
        record,
        command=f"visgen bench latency --model {shlex.quote(report['model'])} {counts}",
        config=None,
        seeds=[],
        data=f"one random picture of {WIDTH}x{HEIGHT} pixels",
        split="none",
        protocol={"timed": "from tensor to typed answers", "repeats": env["repeats"], "threads": env["threads"]},
        metrics={
            f"{r['case']} against {r['against']}": {k: r[k] for k in ("median_ms", "ratio", "gflop", "flop_ratio")}
            for r in report["rows"]
        },
        environment={"timm": env["timm"], "load_1min": env["load_1min"]},
    )
