"""`visgen bench`: figures about speed, each beside a yardstick measured in the same process."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError, UnknownName, nearest
from .output import JSON_OPTION, only_json, print_json, print_table, user_errors

__all__ = ["bench", "latency"]

YARDSTICK = "vit_tiny_patch16_224"
HEIGHT, WIDTH = 240, 320


@user_errors
def bench(
    name: Annotated[str, typer.Argument(help="What to measure: latency.")],
    model: Annotated[str | None, typer.Option("--model", help="Shipped name, folder or Hub id.")] = None,
    threads: Annotated[int, typer.Option("--threads", help="CPU threads.")] = 2,
    repeats: Annotated[int, typer.Option("--repeats", help="Timed runs of each case, interleaved.")] = 25,
    as_json: Annotated[bool, JSON_OPTION] = False,
    record: Annotated[Path | None, typer.Option("--record", help="Also write the figures as a record here.")] = None,
) -> None:
    """Measure a model on the CPU.

    latency: each head alone, one head per task together, and all heads together, for one 320x240 picture, beside
    timm's vit_tiny_patch16_224 at 224x224.
    The runs of all cases are interleaved, so that a busy machine slows each alike; the ratio is what to compare.
    """
    if name not in BENCHES:
        raise UnknownName(f"bench '{name}' is not known{nearest(name, BENCHES)} Known: {', '.join(BENCHES)}.")
    if threads < 1 or repeats < 1:
        raise ConfigError(f"threads is {threads} and repeats {repeats}; both must be at least 1.")
    with only_json(as_json):
        report = BENCHES[name](model, threads, repeats)
    if record is not None:
        _write(record, name, report)
    if as_json:
        print_json(report)
        return
    rows = [(r["case"], f"{r['median_ms']:.1f}", f"{r['ratio']:.2f} x", r["against"]) for r in report["rows"]]
    env = report["environment"]
    title = f"{name}: {report['model']}, {env['threads']} threads, torch {env['torch']}, median of {repeats}"
    print_table(("case", "ms", "ratio", "against"), rows, title=title)


def latency(model: str | None, threads: int, repeats: int) -> dict[str, Any]:
    """Time one picture from tensor to typed answers: per head, for one head of each task, and for all heads.

    Returns:
        {"bench", "model", "environment", "rows"}; a row has case, heads, dtype, pass, median_ms, lowest_ms, ratio and
        against (the case that the ratio divides by).
    """
    import timm
    import torch

    from ..zoo import DEFAULT_MODEL, load_model

    kept = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        name = model or DEFAULT_MODEL
        loaded = load_model(name, "cpu")
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
        seconds = _interleave(cases, repeats)
    finally:
        torch.set_num_threads(kept)
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
            "ratio": median[label] / median[yard],
            "against": yard,
        }

    rows = [row(label, against) for label in cases]
    yards = {
        "the middle one of the heads alone": statistics.median(median[label] for label in alone),
        f"the slowest head alone ({alone[-1]})": median[alone[-1]],
        "each head alone, summed": sum(median[label] for label in alone),
    }
    for label in together:
        rows += [
            {**row(label, against), "ratio": median[label] / yard, "against": name} for name, yard in yards.items()
        ]
    return {"bench": "latency", "model": name, "environment": _environment(threads, repeats), "rows": rows}


def _write(record: Path, name: str, report: dict[str, Any]) -> None:
    from ..metrics import write_record

    env = report["environment"]
    write_record(
        record,
        command=f"visgen bench {name} --model {report['model']} --threads {env['threads']} --repeats {env['repeats']}",
        config=None,
        seeds=[],
        data=f"one random picture of {WIDTH}x{HEIGHT} pixels",
        split="none",
        protocol={"timed": "from tensor to typed answers", "repeats": env["repeats"], "threads": env["threads"]},
        metrics={
            f"{r['case']} against {r['against']}": {"median_ms": r["median_ms"], "ratio": r["ratio"]}
            for r in report["rows"]
        },
        environment={"timm": env["timm"], "load_1min": env["load_1min"]},
    )


def _interleave(cases: dict[str, Callable[[], Any]], repeats: int, warm_up: int = 3) -> dict[str, list[float]]:
    """Give seconds per case; round after round, each case runs once."""
    import torch

    seconds: dict[str, list[float]] = {label: [] for label in cases}
    with torch.no_grad():
        for i in range(repeats + warm_up):
            for label, run in cases.items():
                start = time.perf_counter()
                run()
                if i >= warm_up:
                    seconds[label].append(time.perf_counter() - start)
    return seconds


def _environment(threads: int, repeats: int) -> dict[str, Any]:
    import timm
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "repeats": repeats,
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


BENCHES: dict[str, Callable[[str | None, int, int], dict[str, Any]]] = {"latency": latency}
