"""`visgen bench train`: training steps of a run file beside the same run with the dense twin of its backbone."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import ConfigError
from ..output import JSON_OPTION, only_json, print_json, print_table, user_errors
from .clock import RECORD_OPTION, THREADS_OPTION, check_counts, compute_threads, environment

__all__ = ["measure_train", "train"]

EXPERTS, TWIN = "experts", "dense twin"
PARTS = ("forward", "backward", "optimiser", "average")
WARM_UP = 3


@user_errors
def train(
    config: Annotated[str, typer.Argument(help="Run file, or the name of a shipped one.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Change a value of the file; may repeat.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option("--data-root", envvar="VISGEN_DATA", help="What ${data_root} in the file stands for.")
    ] = None,
    threads: Annotated[int, THREADS_OPTION] = 2,
    steps: Annotated[int, typer.Option("--steps", help="Timed steps, after 3 that are not.")] = 40,
    profile: Annotated[bool, typer.Option("--profile", help="Also say which operators take the time.")] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
    record: Annotated[Path | None, RECORD_OPTION] = None,
) -> None:
    """Images per second while training, and where the time of a step goes, beside the dense twin.

    Both sides take the same batches in turn, in this process: data (read, decode, augment), forward with the loss,
    backward with clipping and bookkeeping, optimiser, and the average of the weights. Nothing is saved.
    """
    check_counts(threads, steps)
    with only_json(as_json):
        from ...config import load_run
        from ..train import _find

        run = load_run(_find(config), overrides or [], data_root)
        report = measure_train(run, threads, steps, profile) | {"config": Path(config).name, "seed": run.seed}
    if record is not None:
        _write(record, report, config, overrides or [])
    if as_json:
        print_json(report)
    else:
        _show(report)


def measure_train(run: Any, threads: int, steps: int, profile: bool = False) -> dict[str, Any]:
    """Train both sides for `steps` steps on the same batches.

    Args:
        run: A RunConfig whose backbone has experts.
    Returns:
        {"bench", "environment", "rows", "data_ms", "images"} and, if asked, "profile". A row has case, dtype, pass,
        median_ms, ratio and against; that of the pass "step" also has images_per_second and, with the loading in this
        process, images_per_second_with_data. The ratio divides sums over the same batches.
    Raises:
        ConfigError: The backbone has no experts, so there is no twin.
    """
    options = run.model.options
    if not run.model.backbone.startswith("vit_moe") or options.get("layout") == "dense":
        raise ConfigError(
            f"the run's backbone is '{run.model.backbone}' with layout {options.get('layout', 'none')}; a dense twin "
            "needs a vit_moe backbone with experts."
        )
    twin = {**options, "layout": "dense", "twin_of": options.get("layout", "twice")}
    with compute_threads(threads):
        sides = {EXPERTS: _Side(run), TWIN: _Side(replace(run, model=replace(run.model, options=twin, weights=None)))}
        mixture = sides[EXPERTS].built.mixture
        data: list[float] = []
        images = 0
        for step in range(WARM_UP + steps):
            start = time.perf_counter()
            batches = [b for i in range(run.train.accumulate) for b in mixture.batches(step * run.train.accumulate + i)]
            if step >= WARM_UP:
                data.append(time.perf_counter() - start)
                images += sum(len(b.images) for b in batches)
            for side in sides.values():
                side.step(step, batches, is_timed=step >= WARM_UP)
        details = _profile(sides, batches) if profile else None
    rows = []
    for name, side in sides.items():
        for part in (*PARTS, "step"):
            values, yard = side.seconds[part], sides[TWIN].seconds[part]
            row = {
                "case": name,
                "dtype": {"fp32": "float32", "bf16": "bfloat16"}[run.train.precision],
                "pass": part,
                "median_ms": statistics.median(values) * 1e3,
                "ratio": sum(values) / max(sum(yard), 1e-12),
                "against": TWIN,
            }
            if part == "step":
                row["images_per_second"] = images / sum(values)
                row["images_per_second_with_data"] = images / (sum(values) + sum(data))
            rows.append(row)
    report = {
        "bench": "train",
        "environment": environment(threads, steps),
        "rows": rows,
        "data_ms": statistics.median(data) * 1e3,
        "images": images,
    }
    return report | ({"profile": details} if details is not None else {})


class _Side:
    """One model with its optimiser and average, and the seconds of each part of its steps."""

    def __init__(self, run: Any) -> None:
        from ...engine import MovingAverage, PhaseStep, Workers, build_run

        workers = Workers(run.train.device)
        self.run, self.workers = run, workers
        self.built = build_run(run, workers)
        self.module = self.built.objective.module.to(workers.device)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._spent: dict[str, float] = defaultdict(float)
        (phase,) = self.built.objective.phases
        loss = phase.loss

        def timed_loss(batch: Any) -> Any:
            start = self._now()
            values = loss(batch)
            self._spent["forward"] += self._now() - start
            return values

        self.phase = PhaseStep(replace(phase, loss=timed_loss), self.module, run.optim, run.train, workers)
        self.phase.optimiser.register_step_pre_hook(lambda *_: self._mark(-1))
        self.phase.optimiser.register_step_post_hook(lambda *_: self._mark(1))
        decay = run.train.ema_decay
        self.average = None if decay is None else MovingAverage(self.module, decay, run.train.ema_warmup)

    def _now(self) -> float:
        """The time when the device has done what it was given."""
        import torch

        if self.workers.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()

    def _mark(self, sign: int) -> None:
        self._spent["optimiser"] += sign * self._now()

    def step(self, step: int, batches: list[Any], is_timed: bool) -> None:
        """One step as the trainer takes it, without logs and checkpoints."""
        objective = self.built.objective
        batches = [batch.to(self.workers.device) for batch in batches]
        self.module.train()
        self._spent.clear()
        start = self._now()
        objective.before_step(step)
        self.phase.run(batches, self.run.optim.lr)
        objective.after_step(step)
        middle = self._now()
        if self.average is not None:
            self.average.update(self.module)
        end = self._now()
        spent = dict(self._spent)
        spent["average"], spent["step"] = end - middle, end - start
        spent["backward"] = middle - start - spent["forward"] - spent.get("optimiser", 0.0)
        if is_timed:
            for part in (*PARTS, "step"):
                self.seconds[part].append(spent.get(part, 0.0))


def _profile(sides: dict[str, _Side], batches: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """The operators with the most time of their own in one step of each side."""
    from torch.profiler import ProfilerActivity, profile

    found = {}
    for name, side in sides.items():
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            side.step(0, batches, is_timed=False)
        events = sorted(trace.key_averages(), key=lambda e: e.self_cpu_time_total, reverse=True)
        total = sum(e.self_cpu_time_total for e in events)
        found[name] = [
            {
                "operator": e.key,
                "calls": e.count,
                "ms": e.self_cpu_time_total / 1e3,
                "share": e.self_cpu_time_total / total,
            }
            for e in events[:15]
        ]
    return found


def _show(report: dict[str, Any]) -> None:
    env = report["environment"]
    rows = [
        (
            r["case"], r["pass"], f"{r['median_ms']:.1f}", f"{r['ratio']:.2f} x",
            f"{r['images_per_second']:.1f}" if "images_per_second" in r else "",
        )
        for r in report["rows"]
    ]  # fmt: skip
    title = f"train: {report['config']}, {env['threads']} threads, torch {env['torch']}, {env['repeats']} steps; "
    title += f"data {report['data_ms']:.1f} ms a step"
    print_table(("case", "part", "ms", "to twin", "images/s"), rows, title=title)
    for case, operators in report.get("profile", {}).items():
        lines = [(o["operator"], str(o["calls"]), f"{o['ms']:.2f}", f"{o['share']:.0%}") for o in operators]
        print_table(("operator", "calls", "ms", "share"), lines, title=f"{case}, one step")


def _write(record: Path, report: dict[str, Any], config: str, overrides: list[str]) -> None:
    from ...metrics import write_record

    env = report["environment"]
    metrics: dict[str, Any] = {"data": {"median_ms": report["data_ms"]}, "images": report["images"]}
    for r in report["rows"]:
        figures = {k: v for k, v in r.items() if isinstance(v, float)}
        metrics.setdefault(r["case"], {})[r["pass"]] = figures
    if "profile" in report:
        metrics["profile"] = report["profile"]
    words = ["visgen bench train", config, *(f"--set {item}" for item in overrides)]
    words += [f"--threads {env['threads']} --steps {env['repeats']}", *(["--profile"] if "profile" in report else [])]
    write_record(
        record,
        command=words,
        config=report["config"],
        seeds=[report["seed"]],
        data="the training parts of the run file",
        split="train",
        protocol={
            "both sides": "the same batches in turn, one process, loading not ahead",
            "ratio": "sum over the steps by the sum of the dense twin",
            "warm-up steps": WARM_UP,
            "steps": env["repeats"],
            "threads": env["threads"],
        },
        metrics=metrics,
        environment={"load_1min": env["load_1min"]},
    )
