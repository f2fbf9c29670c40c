"""`visgen bench instruct`: one question to the instruction model, from a tensor to the typed answer."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ..output import JSON_OPTION, only_json, print_json, print_table, user_errors
from .clock import (
    RECORD_OPTION,
    REPEATS_OPTION,
    THREADS_OPTION,
    check_counts,
    compute_threads,
    environment,
    interleave,
)

__all__ = ["instruct", "measure_instruct"]

YARD = "a question in one step"
LIMIT_SECONDS = 0.3  # what is to be reached for one question


@user_errors
def instruct(
    model: Annotated[str | None, typer.Option("--model", help="Shipped name, folder or Hub id.")] = None,
    threads: Annotated[int, THREADS_OPTION] = 2,
    repeats: Annotated[int, REPEATS_OPTION] = 25,
    as_json: Annotated[bool, JSON_OPTION] = False,
    record: Annotated[Path | None, RECORD_OPTION] = None,
) -> None:
    """One question about a 320x240 picture: in one step, in 8 steps with guidance, and two questions at once."""
    check_counts(threads, repeats)
    with only_json(as_json):
        report = measure_instruct(model, threads, repeats)
    if record is not None:
        from ...metrics import write_record

        named = report["model"]
        write_record(
            record,
            command=f"visgen bench instruct --model {shlex.quote(named)} --threads {threads} --repeats {repeats}",
            config=None,
            seeds=[],
            data="one random picture of 320x240 pixels",
            split="none",
            protocol={"timed": "from tensor to typed answer, parsing included", "repeats": repeats, "threads": threads},
            metrics={row["case"]: {"median_ms": row["median_ms"], "ratio": row["ratio"]} for row in report["rows"]},
            environment=report["environment"],
        )
    if as_json:
        print_json(report)
        return
    rows = [(r["case"], f"{r['median_ms']:.1f}", f"{r['ratio']:.2f} x", r["against"]) for r in report["rows"]]
    print_table(("case", "ms", "ratio", "against"), rows, title=f"instruct: {report['model']}, {threads} threads")


def measure_instruct(model: str | None, threads: int, repeats: int) -> dict[str, Any]:
    """Time the cases, interleaved.

    Returns:
        {"bench", "model", "environment", "rows", "target"}; "target" says whether one question stays below 0.3 s.
    """
    import torch

    from ...pipelines import pipeline
    from ...zoo import INSTRUCT_MODEL

    name = model or INSTRUCT_MODEL
    with compute_threads(threads), torch.no_grad():
        pipe: Any = pipeline(path="diffusion", model=name, device="cpu")
        picture = torch.rand(3, 240, 320, generator=torch.Generator().manual_seed(0))
        several = ["how far is everything?", "is anything unusual?"]
        cases: dict[str, Callable[[], Any]] = {
            YARD: partial(pipe, picture, several[0]),
            "two questions in one step": partial(pipe, picture, several),
            "a question in 8 steps with guidance": partial(
                pipe, picture, several[0], steps=8, text_scale=2.0, image_scale=1.2
            ),
        }
        seconds = interleave(cases, repeats)
    median = {case: statistics.median(values) for case, values in seconds.items()}
    rows = [
        {
            "case": case,
            "dtype": "float32",
            "pass": "predict",
            "median_ms": median[case] * 1e3,
            "ratio": median[case] / median[YARD],
            "against": YARD,
        }
        for case in cases
    ]
    target = {"value": median[YARD], "limit": LIMIT_SECONDS, "met": median[YARD] <= LIMIT_SECONDS}
    env = environment(threads, repeats, ["diffusers", "transformers"])
    return {"bench": "instruct", "model": name, "environment": env, "rows": rows, "target": target}
