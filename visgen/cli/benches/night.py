"""`visgen bench night`: pictures a second that a day-to-night generator turns to night, and that a cache gives back."""

from __future__ import annotations

import shlex
import statistics
import tempfile
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

__all__ = ["measure_night", "night"]

SIZES = ((128, 128), (192, 256), (240, 320))
BATCH = 4
YARDSTICK = (192, 256)


@user_errors
def night(
    generator: Annotated[str | None, typer.Option("--generator", help="Folder or shipped name.")] = None,
    threads: Annotated[int, THREADS_OPTION] = 2,
    repeats: Annotated[int, REPEATS_OPTION] = 15,
    as_json: Annotated[bool, JSON_OPTION] = False,
    record: Annotated[Path | None, RECORD_OPTION] = None,
) -> None:
    """Throughput of night augmentation at several sizes, one picture at a time, in batches, and from the cache.

    The yardstick is a crop, flip and colour jitter of a picture of 256x192, which training does anyway. The runs of all
    cases are interleaved.
    """
    check_counts(threads, repeats)
    with only_json(as_json):
        report = measure_night(generator, threads, repeats)
    if record is not None:
        _write(record, report)
    if as_json:
        print_json(report)
        return
    rows = [(r["case"], f"{r['images_per_second']:.1f}", f"{r['ratio']:.2f} x") for r in report["rows"]]
    env = report["environment"]
    title = f"night: {report['generator']}, {env['threads']} threads, torch {env['torch']}, median of {repeats}"
    print_table(("case", "pictures a second", "time against crop, flip, jitter"), rows, title=title)


def measure_night(generator: str | None, threads: int, repeats: int) -> dict[str, Any]:
    """Time pictures of noise, uint8 in and uint8 out.

    Returns:
        {"bench", "generator", "environment", "rows"}; a row has case, images_per_second (of the median), median_ms for
        one picture, and ratio: its time over that of the yardstick.
    """
    import torch

    from ...data import Sample, build_transform
    from ...gan.night import NIGHT_MODEL, NightAugmentation, load_night

    name = generator or NIGHT_MODEL
    made = load_night(name)
    random = torch.Generator().manual_seed(0)

    def picture(size: tuple[int, int], number: int = 0) -> Sample:
        pixels = torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8)
        return Sample(pixels, {}, {"id": f"{number}"})

    def batched(images: Any) -> Any:
        return (made(images.float() / 255) * 255).round().to(torch.uint8)

    height, width = YARDSTICK
    usual = build_transform(
        [
            {"name": "random_resized_crop", "size": [height, width], "scale": [0.5, 1.0]},
            {"name": "horizontal_flip"},
            {"name": "color_jitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.02},
        ]
    )
    yard = f"crop, flip, jitter {width}x{height}"
    cases: dict[str, Callable[[], Any]] = {yard: partial(usual, picture(YARDSTICK), random)}
    count = {yard: 1}
    with compute_threads(threads), torch.no_grad(), tempfile.TemporaryDirectory() as cache:
        plain = NightAugmentation(made, 1.0, select="random")
        for size in SIZES:
            shape = f"{size[1]}x{size[0]}"
            batch = torch.stack([picture(size).pixels for _ in range(BATCH)])
            cases[f"one {shape}"], count[f"one {shape}"] = partial(plain, picture(size)), 1
            cases[f"{BATCH} at once {shape}"], count[f"{BATCH} at once {shape}"] = partial(batched, batch), BATCH
        kept = NightAugmentation(made, 1.0, select="random", cache=cache)
        cached = f"from the cache {width}x{height}"
        cases[cached], count[cached] = partial(kept, picture(YARDSTICK)), 1
        seconds = interleave(cases, repeats)
    each = {label: statistics.median(values) / count[label] for label, values in seconds.items()}
    rows = [
        {"case": k, "images_per_second": 1 / v, "median_ms": 1e3 * v, "ratio": v / each[yard]} for k, v in each.items()
    ]
    return {"bench": "night", "generator": name, "environment": environment(threads, repeats, []), "rows": rows}


def _write(record: Path, report: dict[str, Any]) -> None:
    from ...metrics import write_record

    env = report["environment"]
    flag = f"--generator {shlex.quote(report['generator'])} --threads {env['threads']} --repeats {env['repeats']}"
    write_record(
        record,
        command=f"visgen bench night {flag}",
        config=None,
        seeds=[],
        data="pictures of noise",
        split="none",
        protocol={"timed": "uint8 to uint8", "repeats": env["repeats"], "threads": env["threads"]},
        metrics={r["case"]: {k: v for k, v in r.items() if k != "case"} for r in report["rows"]},
        environment={"load_1min": env["load_1min"]},
    )
