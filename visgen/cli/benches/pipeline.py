"""`visgen bench pipeline`: from picture file to typed answers, beside networks that do one of the jobs each."""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import ConfigError
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
from .peers import HEIGHT, PEERS, WIDTH, Job, build_peer

__all__ = ["measure_pipeline", "peak_memory", "pipeline"]

BATCH = 16
TOGETHER, ONE_BY_ONE = "visgen, all tasks in one call", "the four peers, one after another"
NOTE = (
    "Speed, not accuracy: the peers have random weights, and each does one job that visgen does beside the others; "
    "they are larger networks trained on far more data."
)
OVERHEAD_MS, AGAINST_ONE, AGAINST_PEERS = 5.0, 2.0, 0.5  # what is to be reached


@user_errors
def pipeline(
    model: Annotated[str | None, typer.Option("--model", help="Shipped name, folder or Hub id.")] = None,
    threads: Annotated[int, THREADS_OPTION] = 2,
    repeats: Annotated[int, REPEATS_OPTION] = 25,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Peak memory, each in a fresh process.")] = True,
    as_json: Annotated[bool, JSON_OPTION] = False,
    record: Annotated[Path | None, RECORD_OPTION] = None,
) -> None:
    """Picture file to answers at 320x240: each task, all tasks, and ViT-tiny, YOLOS-tiny, SegFormer-B0, Depth-Anything.

    Latency of one picture, throughput of batches of 16, peak memory in fresh processes, and what the pipeline costs on
    top of the bare model. Runs are interleaved. The peers have random weights: this compares speed, not accuracy.
    """
    check_counts(threads, repeats)
    with only_json(as_json):
        report = measure_pipeline(model, threads, repeats, memory)
    if record is not None:
        _write(record, report)
    if as_json:
        print_json(report)
        return
    rows = [
        (
            r["case"],
            str(r["batch"]),
            f"{r['median_ms']:.1f}",
            f"{r['low_ms']:.1f} - {r['high_ms']:.1f}",
            "" if r["images_per_second"] is None else f"{r['images_per_second']:.1f}",
            "" if r.get("peak_mib") is None else f"{r['peak_mib']:.0f}",
            "" if r["ratio"] is None else f"{r['ratio']:.2f} x {r['against']}",
        )
        for r in report["rows"]
    ]
    env = report["environment"]
    title = f"pipeline: {report['model']}, {env['threads']} threads, torch {env['torch']}, median of {repeats}. {NOTE}"
    print_table(("case", "batch", "ms", "middle half", "images/s", "peak MiB", "ratio"), rows, title=title)
    print_table(
        ("to reach", "value", "limit", ""),
        [
            (t["name"], f"{t['value']:.2f}", f"{t['limit']:g}", "met" if t["met"] else "missed")
            for t in report["targets"]
        ],
    )


def measure_pipeline(model: str | None, threads: int, repeats: int, memory: bool = True) -> dict[str, Any]:
    """Time everything in one process, and memory in others.

    Returns:
        {"bench", "model", "note", "environment", "rows", "targets"}. A row has case, batch, dtype, pass, input,
        median_ms, low_ms and high_ms (quartiles), lowest_ms, images_per_second, ratio and against; rows of one picture
        also parameters and peak_mib where measured. A target has name, value, limit and met.
    """
    import torch

    from ...pipelines import pipeline as make_pipeline
    from ...zoo import DEFAULT_MODEL, load_heads

    name = model or DEFAULT_MODEL
    with compute_threads(threads), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        files = write_pictures(Path(folder), BATCH)
        loaded = load_heads(name, "cpu")
        tasks = {task: loaded.default_heads[task] for task in loaded.tasks}
        ready = _prepared(loaded, files[0])
        asks = {f"visgen, {task}": make_pipeline(head, loaded, device="cpu") for task, head in tasks.items()}
        asks[TOGETHER] = make_pipeline(list(tasks.values()), loaded, device="cpu")
        peers = {peer: build_peer(peer) for peer in PEERS}
        single: dict[str, Callable[[], Any]] = {k: partial(ask, str(files[0])) for k, ask in asks.items()}
        single |= {k: partial(job.run, files[:1]) for k, job in peers.items()}
        bare = {
            **{f"bare model, {task}": partial(loaded.predict, ready, [head]) for task, head in tasks.items()},
            "bare model, all tasks": partial(loaded.predict, ready, list(tasks.values())),
        }
        seconds = interleave({**single, **bare}, repeats)
        texts = [str(f) for f in files]
        batches: dict[str, Callable[[], Any]] = {k: partial(ask, texts, batch_size=BATCH) for k, ask in asks.items()}
        batches |= {k: partial(job.run, files) for k, job in peers.items()}
        many = interleave(batches, max(1, repeats // 5), warm_up=1)
    peaks = {case: peak_memory(case, name, threads) for case in single} if memory else {}
    sums = [sum(seconds[peer][i] for peer in peers) for i in range(repeats)]
    rows = [_row(case, seconds[case], 1, _shape(case, peers)) for case in single]
    for row in rows:
        job = peers.get(row["case"])
        row["parameters"] = sum(p.numel() for p in loaded.parameters()) if job is None else job.parameters
        row["peak_mib"] = peaks.get(row["case"])
    rows.append({**_row(ONE_BY_ONE, sums, 1, "as above"), "parameters": sum(j.parameters for j in peers.values())})
    rows += [_row(case, seconds[case], 1, "prepared tensor") for case in bare]
    rows += [_row(case, many[case], BATCH, _shape(case, peers)) for case in batches]
    alone = {task: statistics.median(seconds[f"visgen, {task}"]) for task in tasks}
    together = statistics.median(seconds[TOGETHER])
    yard = statistics.median(alone.values())
    for row in rows:
        if row["batch"] == 1 and row["case"] != TOGETHER:
            row["ratio"], row["against"] = row["median_ms"] / 1e3 / together, TOGETHER
    over = {task: _gap_ms(seconds[f"visgen, {task}"], seconds[f"bare model, {task}"]) for task in tasks} | {
        "all tasks": _gap_ms(seconds[TOGETHER], seconds["bare model, all tasks"])
    }
    targets = [
        _target("all tasks in one call against the middle one of the tasks alone", together / yard, AGAINST_ONE),
        _target("all tasks in one call against the slowest task alone", together / max(alone.values()), AGAINST_ONE),
        _target("all tasks in one call against the four peers", together / statistics.median(sums), AGAINST_PEERS),
        *(_target(f"pipeline over the bare model, ms an image: {task}", ms, OVERHEAD_MS) for task, ms in over.items()),
    ]
    packages = ["timm", "transformers", "torchvision"]
    return {
        "bench": "pipeline",
        "model": name,
        "note": NOTE,
        "environment": environment(threads, repeats, packages),
        "rows": rows,
        "targets": targets,
    }


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Write the shipped photographs as `count` JPEG files of 320x240, and give their paths."""
    from PIL import Image

    from ...shipped import shipped_path

    sources = sorted(shipped_path("data/samples").glob("*.jpg"))
    if not sources:
        raise ConfigError("the shipped photographs are missing; reinstall visgen.")
    paths = []
    for i in range(count):
        paths.append(folder / f"{i:02d}.jpg")
        Image.open(sources[i % len(sources)]).convert("RGB").resize((WIDTH, HEIGHT)).save(paths[-1], quality=90)
    return paths


def peak_memory(case: str, model: str, threads: int) -> float:
    """Most memory (MiB) that a fresh process held which builds one case and answers three times about one picture."""
    code = "import sys; from visgen.cli.benches.pipeline import _report_memory; _report_memory(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, case, model, str(threads)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigError(f"the process that measures the memory of '{case}' failed: {done.stderr.strip()[-300:]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


def _report_memory(case: str, model: str, threads: str) -> None:
    """In the fresh process: answer, then print the peak of the resident set."""
    import torch

    torch.set_num_threads(int(threads))
    with tempfile.TemporaryDirectory() as folder:
        (file,) = write_pictures(Path(folder), 1)
        if case in PEERS:
            job = build_peer(case)
            run: Callable[[], Any] = partial(job.run, [file])
        else:
            from ...pipelines import pipeline as make_pipeline
            from ...zoo import load_heads

            loaded = load_heads(model, "cpu")
            asked = loaded.tasks if case == TOGETHER else (case.removeprefix("visgen, "),)
            run = partial(make_pipeline([loaded.default_heads[t] for t in asked], loaded, device="cpu"), str(file))
        for _ in range(3):
            run()
    typer.echo(json.dumps(_peak_mib()))


def _peak_mib() -> float:
    """Peak of this process's resident set in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would also count the parent, which was there before the program was changed
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def _prepared(model: Any, file: Path) -> Any:
    from ...structures import load_image
    from ...structures.working_size import resize_for_work

    return resize_for_work(load_image(file), model.max_side, model.min_side or None)[None]


def _shape(case: str, peers: dict[str, Job]) -> str:
    height, width = peers[case].size if case in peers else (HEIGHT, WIDTH)
    return f"{width}x{height}"


def _row(case: str, seconds: Sequence[float], batch: int, shape: str) -> dict[str, Any]:
    middle = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else (middle, middle, middle)
    return {
        "case": case,
        "batch": batch,
        "dtype": "float32",
        "pass": "predict on a tensor" if case.startswith("bare") else "file to answers",
        "input": shape,
        "median_ms": middle * 1e3,
        "low_ms": low * 1e3,
        "high_ms": high * 1e3,
        "lowest_ms": min(seconds) * 1e3,
        "images_per_second": batch / middle,
        "ratio": None,
        "against": None,
    }


def _gap_ms(whole: Sequence[float], part: Sequence[float]) -> float:
    """The median, over rounds, of what the whole took longer than its part."""
    return statistics.median(w - p for w, p in zip(whole, part, strict=True)) * 1e3


def _target(name: str, value: float, limit: float) -> dict[str, Any]:
    return {"name": name, "value": value, "limit": limit, "met": value <= limit}


def _write(record: Path, report: dict[str, Any]) -> None:
    from ...metrics import write_record

    env = report["environment"]
    rows = {
        f"{r['case']}, batch {r['batch']}": {
            k: r[k] for k in ("median_ms", "low_ms", "high_ms", "images_per_second", "peak_mib") if r.get(k) is not None
        }
        for r in report["rows"]
    }
    counts = f"--threads {env['threads']} --repeats {env['repeats']}"
    write_record(
        record,
        command=f"visgen bench pipeline --model {shlex.quote(report['model'])} {counts}",
        config=None,
        seeds=[],
        data=f"the shipped photographs as JPEG files of {WIDTH}x{HEIGHT} pixels",
        split="none",
        protocol={
            "timed": "from picture file to answers, runs interleaved in one process; memory in fresh processes",
            "repeats": env["repeats"],
            "threads": env["threads"],
            "note": report["note"],
        },
        metrics={**rows, "targets": {t["name"]: t["value"] for t in report["targets"]}},
        environment={k: env[k] for k in ("timm", "transformers", "torchvision", "load_1min")},
    )
