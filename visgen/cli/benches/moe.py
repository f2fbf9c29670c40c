"""`visgen bench moe`: a layer of experts beside the dense MLP of equal active parameters."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import ConfigError
from ..output import JSON_OPTION, only_json, print_json, print_table, say, user_errors
from .clock import RECORD_OPTION, THREADS_OPTION, check_counts, compute_threads, environment, interleave

__all__ = ["Shape", "measure_moe", "moe"]

TOP_K = 4
DENSE, BANK, MASKED, ALL = "dense", "experts", "masked loop", "dense, all experts"
LIMITS = {("float32", "forward"): 1.3, ("bfloat16", "forward"): 2.0, ("float32", "forward+backward"): 1.4}  # to reach
TOLERANCE = 0.15  # the spread of the dense yardstick above which no ratio means anything


@dataclass(frozen=True)
class Shape:
    """Rows S, width D = hidden width of an expert, and experts E."""

    rows: int
    width: int
    experts: int

    def __str__(self) -> str:
        return f"S {self.rows} D {self.width} E {self.experts}"


MAIN = Shape(3152, 384, 16)
# corners of what models use: widths 192-768, 16 and 64 experts, 1568 and 6272 rows
OTHERS = tuple(Shape(s, d, e) for s in (1568, 6272) for d in (192, 384, 768) for e in (16, 64))


@user_errors
def moe(
    threads: Annotated[int, THREADS_OPTION] = 2,
    repeats: Annotated[int, typer.Option("--repeats", help="Timed runs of each case, interleaved.")] = 15,
    everything: Annotated[bool, typer.Option("--all", help="Also the 12 further shapes; takes minutes.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu, or cuda for a GPU.")] = "cpu",
    profile: Annotated[
        bool, typer.Option("--profile", help="Also where the time goes, for the main shape and missed ones.")
    ] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
    record: Annotated[Path | None, RECORD_OPTION] = None,
) -> None:
    """A layer of experts beside the dense MLP of equal active parameters, forward and backward, float32 and bfloat16.

    Beside them a loop with one mask per expert and, at the first shape, the dense MLP of all experts together. The
    experts run on every backend that this machine has. All cases of a shape are interleaved in one process. A dense
    yardstick that varies by more than 15 % makes the run invalid: exit code 1, and no record is written.
    """
    check_counts(threads, repeats)
    with only_json(as_json):
        report = measure_moe((MAIN, *OTHERS) if everything else (MAIN,), threads, repeats, device, profile)
    if as_json:
        print_json(report)
    else:
        _show(report)
    if not report["valid"]:
        say(f"invalid: a dense yardstick varied by more than {TOLERANCE:.0%}; measure again on a quiet machine")
        raise typer.Exit(1)
    if record is not None:
        _write(record, report, everything)


def measure_moe(
    shapes: Sequence[Shape], threads: int, repeats: int, device: str = "cpu", profile: bool = False
) -> dict[str, Any]:
    """Time every case of every shape.

    Returns:
        {"bench", "environment", "rows", "valid"} and, if asked, "profile": {shape: {case: operators}} for the first
        shape and those where the experts miss a limit. A row has shape, case, backend, dtype, pass,
        median_ms, lowest_ms, spread, ratio and against. `spread` is half the range of the middle half over the median;
        `valid` is false when that of a dense yardstick is above 0.15.
    Raises:
        ConfigError: The device is not there.
    """
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"device is '{device}' but no GPU is here; use --device cpu.")
    rows = []
    with compute_threads(threads):
        for shape in shapes:
            for dtype in (torch.float32, torch.bfloat16):
                given = _Given(shape, dtype, device)
                for backward in (False, True):
                    rows += _rows(given, backward, *_rounds(shape, repeats))
        looked_at = [shape for shape in shapes if shape == shapes[0] or _misses(rows, shape)] if profile else []
        details = {str(shape): _profile(_Given(shape, torch.float32, device)) for shape in looked_at}
    valid = all(row["spread"] <= TOLERANCE for row in rows if row["case"] == DENSE)
    report = {"bench": "moe", "environment": environment(threads, repeats), "rows": rows, "valid": valid}
    return report | ({"profile": details} if profile else {})


def _misses(rows: Sequence[dict[str, Any]], shape: Shape) -> bool:
    """Whether the best backend misses a limit at a shape."""
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["shape"] == str(shape) and row["case"] == BANK:
            kind = row["dtype"], row["pass"]
            best[kind] = min(best.get(kind, float("inf")), row["ratio"])
    return any(best[kind] > limit for kind, limit in LIMITS.items() if kind in best)


class _Given:
    """Random rows, gates and weights of one shape, and the cases that compute with them."""

    def __init__(self, shape: Shape, dtype: Any, device: str) -> None:
        import torch

        generator = torch.Generator().manual_seed(0)
        rows, width, experts = shape.rows, shape.width, shape.experts

        def draw(*size: int) -> Any:
            return (torch.randn(*size, generator=generator) * 0.05).to(device, dtype).requires_grad_()

        self.shape, self.dtype, self.device = shape, dtype, device
        self.x = draw(rows, width)
        self.chosen = torch.rand(rows, experts, generator=generator).topk(TOP_K).indices.to(device)
        gates = torch.rand(rows, TOP_K, generator=generator).softmax(-1)
        self.gates = gates.to(device, dtype).requires_grad_()
        self.bank = [
            draw(experts, width, width),
            draw(experts, width),
            draw(experts, width, width),
            draw(experts, width),
        ]
        # all experts at once answer nobody's question at 64 of them, and would take most of the time
        self.dense = {
            n: (draw(n * width, width), draw(n * width), draw(width, n * width), draw(width))
            for n in ((TOP_K, experts) if shape == MAIN else (TOP_K,))
        }
        self.probe = torch.ones(rows, width, device=device, dtype=dtype)

    def leaves(self) -> list[Any]:
        return [self.x, self.gates, *self.bank, *(t for layer in self.dense.values() for t in layer)]

    def cases(self) -> dict[tuple[str, str], Callable[[], Any]]:
        """Each case by (name, backend)."""
        from ...nn.expert_mlp import expert_mlp, masked_mlp

        given = (self.x, self.gates, self.chosen, *self.bank)
        found: dict[tuple[str, str], Callable[[], Any]] = {(DENSE, ""): partial(_dense, self.x, *self.dense[TOP_K])}
        for backend in self._backends():
            found[BANK, backend] = partial(_forced, backend, partial(expert_mlp, *given))
        found[MASKED, ""] = partial(masked_mlp, *given)
        if self.shape.experts in self.dense:
            found[ALL, ""] = partial(_dense, self.x, *self.dense[self.shape.experts])
        return found

    def _backends(self) -> list[str]:
        from ...nn.moe_backend import available_backends

        return [b for b in available_backends(self.x, self.bank[0], self.bank[2]) if b != "reference"]


def _dense(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    import torch.nn.functional as F

    return F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)


def _forced(backend: str, run: Callable[[], Any]) -> Any:
    """Run with one backend; the variable is what a user would set."""
    import os

    from ...nn.moe_backend import ENVIRONMENT

    kept = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = backend
    try:
        return run()
    finally:
        os.environ.pop(ENVIRONMENT)
        if kept is not None:
            os.environ[ENVIRONMENT] = kept


def _timed(given: _Given, run: Callable[[], Any], backward: bool, backend: str) -> None:
    import torch

    if backward:
        for leaf in given.leaves():
            leaf.grad = None
        out = run()
        # the backward pass reads the variable too
        _forced(backend or "loop", lambda: out.backward(given.probe))
    else:
        with torch.no_grad():
            run()
    if given.device != "cpu":
        torch.cuda.synchronize()


def _rounds(shape: Shape, repeats: int) -> tuple[int, int]:
    """Timed rounds and those before them: a further shape, which may take seconds a case, gets a fifth, at least 3."""
    return (repeats, 3) if shape == MAIN else (min(repeats, max(3, repeats // 5)), 1)


def _rows(given: _Given, backward: bool, repeats: int, warm_up: int) -> list[dict[str, Any]]:
    cases = given.cases()
    timed = {f"{i}": partial(_timed, given, run, backward, key[1]) for i, (key, run) in enumerate(cases.items())}
    seconds = interleave(timed, repeats, warm_up)
    measured = list(seconds.values())
    yard = statistics.median(measured[0])
    return [
        {
            "shape": str(given.shape),
            "case": name,
            "backend": backend,
            "dtype": str(given.dtype).removeprefix("torch."),
            "pass": "forward+backward" if backward else "forward",
            "median_ms": statistics.median(values) * 1e3,
            "lowest_ms": min(values) * 1e3,
            "spread": _spread(values),
            "ratio": statistics.median(values) / yard,
            "against": DENSE,
        }
        for (name, backend), values in zip(cases, measured, strict=True)
    ]


def _spread(values: Sequence[float]) -> float:
    """Half the range of the middle half, over the median; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / statistics.median(values)


def _profile(given: _Given) -> dict[str, list[dict[str, Any]]]:
    """The operators with the most time of their own in the dense layer and in the experts, forward and backward."""
    from torch.profiler import ProfilerActivity, profile

    found = {}
    cases = given.cases()
    for (name, backend), run in cases.items():
        if name not in (DENSE, BANK):
            continue
        _timed(given, run, True, backend)
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            for _ in range(5):
                _timed(given, run, True, backend)
        events = sorted(trace.key_averages(), key=lambda e: e.self_cpu_time_total, reverse=True)
        total = sum(e.self_cpu_time_total for e in events)
        found[f"{name} {backend}".strip()] = [
            {
                "operator": e.key,
                "calls": e.count // 5,
                "ms": e.self_cpu_time_total / 5e3,
                "share": e.self_cpu_time_total / total,
            }
            for e in events[:10]
        ]
    return found


def _show(report: dict[str, Any]) -> None:
    env = report["environment"]
    rows = [
        (
            r["shape"], f"{r['case']} {r['backend']}".strip(), r["dtype"], r["pass"],
            f"{r['median_ms']:.1f}", f"{r['spread']:.0%}", f"{r['ratio']:.2f} x",
        )
        for r in report["rows"]
    ]  # fmt: skip
    title = f"moe: top-{TOP_K}, {env['threads']} threads, torch {env['torch']}, median of {env['repeats']}"
    print_table(("shape", "case", "dtype", "pass", "ms", "spread", "to dense"), rows, title=title)
    for shape, cases in report.get("profile", {}).items():
        for case, operators in cases.items():
            lines = [(o["operator"], str(o["calls"]), f"{o['ms']:.2f}", f"{o['share']:.0%}") for o in operators]
            print_table(("operator", "calls", "ms", "share"), lines, title=f"{shape}: {case}, both passes, float32")


def _write(record: Path, report: dict[str, Any], everything: bool) -> None:
    from ...metrics import write_record

    env = report["environment"]
    metrics: dict[str, Any] = {}
    for r in report["rows"]:
        case = f"{r['case']} {r['backend']}".strip()
        figures = {name: r[name] for name in ("median_ms", "lowest_ms", "spread", "ratio")}
        metrics.setdefault(r["shape"], {}).setdefault(f"{r['dtype']} {r['pass']}", {})[case] = figures
    if "profile" in report:
        metrics["profile"] = report["profile"]
    options = f"--threads {env['threads']} --repeats {env['repeats']}"
    further = f"; of further shapes {_rounds(OTHERS[0], env['repeats'])[0]}" if everything else ""
    options += (" --all" if everything else "") + (" --profile" if "profile" in report else "")
    write_record(
        record,
        command=f"visgen bench moe {options}",
        config=None,
        seeds=[0],
        data="random rows, gates and weights; each row visits 4 experts drawn without replacement",
        split="none",
        protocol={
            "ratio": "median over the median of the dense MLP with 4 times the hidden width, same process, interleaved",
            "spread": "half the range of the middle half over the median",
            "repeats": f"{env['repeats']}{further}",
            "threads": env["threads"],
        },
        metrics=metrics,
        environment={"load_1min": env["load_1min"]},
    )
