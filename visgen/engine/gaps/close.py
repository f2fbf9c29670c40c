"""Close gaps: train on with what was asked for and, as long, without; report before and after where nobody looked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...config import PartConfig, RunConfig, from_mapping, load_run
from ...data import Cached, Source
from ...errors import ConfigError, DataError
from ...metrics import summarise
from ...metrics.strata import Stratum, draw_weights, stratum_values
from ...task import TASKS
from ..evaluate import settled_options
from ..parts import open_part
from ..run import train_run
from .find import collect_strata
from .mix import ASKED

__all__ = ["ARMS", "Closed", "ClosedGap", "close_gaps", "compare_arms"]

ARMS = ("control", "closed")


@dataclass(frozen=True)
class ClosedGap:
    """One figure before, after training on without (control) and with what was asked for (closed).

    Args:
        head, key, metric: What was measured; "all/all" is the whole reporting part.
        is_asked: Something was asked for because of this stratum.
        served_by: What served it.
        before: Figure of the model that was started from.
        control, closed: `summarise` over the seeds.
        difference, low, high: Closed less control, and its bootstrap interval over images and seeds.
        count, unit, images: Examples of the stratum in the reporting part.
        verdict: "gained", "lost" or "no clear difference", by the interval.
    """

    head: str
    key: str
    metric: str
    is_asked: bool
    served_by: str
    before: float
    control: dict[str, Any]
    closed: dict[str, Any]
    difference: float
    low: float
    high: float
    count: int
    unit: str
    images: int
    verdict: str


@dataclass(frozen=True)
class Closed:
    """What closing gaps gained.

    Args:
        model: What was started from.
        steps, seeds: Of both arms.
        rows: The whole first, then what was asked for, then the other strata.
        protocol: How it was measured.
    """

    model: str
    steps: int
    seeds: tuple[int, ...]
    rows: tuple[ClosedGap, ...]
    protocol: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {**asdict(self), "seeds": list(self.seeds), "rows": [asdict(row) for row in self.rows]}


def close_gaps(
    run: str | Path,
    out: str | Path,
    *,
    load: Callable[[str | Path], Any],
    export: Callable[[Any, Path], object],
    model: str = "",
    seeds: Sequence[int] = (0,),
    overrides: Iterable[str] = (),
    draws: int = 1000,
    level: float = 0.95,
    device: str = "cpu",
    progress: Callable[[str], None] | None = None,
) -> Closed:
    """Train both arms for each seed and compare them on the reporting part.

    A run that is in `out` already is taken as it is, and one that was cut short goes on, if this call trains the same.

    Args:
        run: Run file that `visgen data gaps` wrote; its control and report lie beside it.
        out: Folder; one folder per arm and seed is made in it.
        load: Gives a model for a name or folder (`load_model`).
        export: Writes a model (`save_pretrained`).
        model: Model to start from; "" takes the one of the run file.
        seeds: Seeds of the runs.
        overrides: "a.b=value" texts for both arms; those of a part that was asked for are of the closed arm alone.
        draws, level: Of the bootstrap.
        device: Where to train and measure.
        progress: Told what is done next.
    Raises:
        ConfigError: A file is missing, no seed is given, or a run in `out` was trained by another configuration.
    """
    file = Path(run)
    files = {"closed": file, "control": file.with_suffix(".control.yaml"), "report": file.with_suffix(".json")}
    for what, path in files.items():
        if not path.is_file():
            raise ConfigError(f"'{path}' ({what}) does not exist; write it with visgen data gaps ... --out {file}.")
    if model and not Path(model).is_dir():
        raise ConfigError(f"model '{model}' is no folder; save it to one first: it is measured, and trained on.")
    changed_by = list(overrides)
    if not seeds:
        raise ConfigError("no seed was given; give at least one, and three for figures that are shown.")
    report = json.loads(files["report"].read_text(encoding="utf-8"))
    start = model or report["model"]
    tell = progress or (lambda text: None)
    measured: dict[str, list[dict[str, list[Stratum]]]] = {"before": [], **{arm: [] for arm in ARMS}}
    tell(f"measuring {start}")
    places = [open_part(from_mapping(PartConfig, row["reporting"]), "val", row["part"]) for row in report["data"]]
    sources = [Cached(source) for source in places]  # measured once before, and once for each arm and seed
    first = load(start)
    data = [{**row, "metric": _options(first, row["report"])} for row in report["data"]]
    measured["before"].append(_measure(first, data, sources, device))
    del first  # its memory, for the runs
    settings: Any = None
    for seed in seeds:
        for arm in ARMS:
            folder = Path(out) / f"{arm}-{seed}"
            mine = [text for text in changed_by if arm == "closed" or not text.startswith(f"data.train.{ASKED}")]
            changes = [*mine, f"seed={seed}", f"out={folder}", f"train.device={device}"]
            config = load_run(files[arm], changes)
            config = replace(config, data=replace(config.data, val={}))  # measured below, by strata
            if model:
                config = replace(config, model=replace(config.model, weights=str(Path(model) / "model.safetensors")))
            kept = folder / "config.yaml"
            before = _trained(load_run(kept)) if kept.is_file() else _trained(config)
            changed = [name for name, value in _trained(config).items() if value != before[name]]
            if changed:
                raise ConfigError(
                    f"the run in '{folder}' was trained by another configuration than is asked now (it differs in "
                    f"{', '.join(changed)}); give another folder with --out."
                )
            done = folder / "finished.txt"  # a run that was cut short leaves a model too
            if not done.is_file():
                tell(f"training {arm}, seed {seed}: {config.train.steps} steps")
                summary = train_run(config, resume=True, export=export)
                if not summary.finished:
                    raise ConfigError(f"the run in '{folder}' ended by {summary.reason}; call this again to go on.")
                done.write_text(f"{summary.reason}, {summary.steps} steps\n", encoding="utf-8")
            tell(f"measuring {arm}, seed {seed}")
            measured[arm].append(_measure(load(folder / "last"), data, sources, device))
            settings = config
    trained = load_run(file, changed_by).data.train
    rows = compare_arms(measured, report["requests"], torch.Generator().manual_seed(0), draws, level)
    protocol = {
        "reported_on": [row["reporting"] for row in report["data"]],
        "looked_on": [row["looked"] for row in report["data"]],
        "control": "the same steps and batches on the training parts alone",
        "interval": f"{level:.0%} of {draws} resamples of images and seeds, paired by image",
        "steps": settings.train.steps,
        "lr": settings.optim.lr,
        "batch_sizes": {name: part.batch_size for name, part in trained.items()},
        "shares": {name: part.weight for name, part in trained.items()},
    }
    return Closed(start, settings.train.steps, tuple(seeds), tuple(rows), protocol)


def _trained(config: RunConfig) -> dict[str, Any]:
    """What the weights of a run follow from; its folder, device and logs are not among it."""
    parts = ("seed", "model", "data", "objective", "optim", "finetune")
    loop = ("steps", "accumulate", "normalise", "precision", "ema_decay", "ema_warmup")
    return {name: getattr(config, name) for name in parts} | {name: getattr(config.train, name) for name in loop}


def _options(model: Any, report: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the strata of a head in every arm, with what the model that is started from settles: compositions that
    are asked for, and shown then, are still those that were rare before."""
    head, metric = report["head"], dict(report["protocol"]["metric"])
    protocol = str(metric.get("protocol", TASKS.get(model.specs[head].task).protocols[0]))
    return {**settled_options(model, head, protocol), **metric}


def _measure(
    model: Any, data: Sequence[Mapping[str, Any]], sources: Sequence[Source], device: str
) -> dict[str, list[Stratum]]:
    """Strata of each head on its reporting part, {head on data: strata}."""
    found = {}
    for row, source in zip(data, sources, strict=True):
        head, strata = collect_strata(
            model,
            source,
            row["report"]["head"],
            max_side=model.max_side,
            min_side=model.min_side or None,
            batch_size=4,
            device=device,
            metric=row["metric"],
        )
        found[f"{head} on {row['data']}"] = strata
    return found


def compare_arms(
    measured: Mapping[str, Sequence[Mapping[str, Sequence[Stratum]]]],
    requests: Sequence[Mapping[str, Any]],
    generator: torch.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> list[ClosedGap]:
    """Compare the arms stratum by stratum, on resampled images that both arms share and resampled seeds.

    Args:
        measured: "before", "control" and "closed" to one {head: strata} for each seed, all on the same images.
        requests: Requests as plain values, for what was asked for.
        generator: Source of the draws.
    Raises:
        DataError: The arms were measured on other numbers of images.
    """
    asked = {(r["head"], key): r["served_by"] for r in requests for key in r["gaps"] if r["part"] is not None}
    rows = []
    for head, strata in measured["before"][0].items():
        images = strata[0].table.images
        once, weights = torch.ones(1, images, dtype=torch.float64), draw_weights(images, draws, generator)
        points: dict[str, list[dict[str, Tensor]]] = {}
        spread: dict[str, list[dict[str, Tensor]]] = {}
        for arm in ARMS:
            of_seeds = [seed[head] for seed in measured[arm]]
            if any(s[0].table.images != images for s in of_seeds):
                raise DataError(f"the arms of head '{head}' were measured on other numbers of images than {images}.")
            points[arm] = [stratum_values(s, once) for s in of_seeds]
            spread[arm] = [stratum_values(s, weights) for s in of_seeds]
        first = stratum_values(strata, once)
        picks = {arm: torch.randint(len(v), (draws, len(v)), generator=generator) for arm, v in spread.items()}
        for s in strata:
            values = {arm: [float(v[s.key]) for v in points[arm] if s.key in v] for arm in ARMS}
            if any(len(v) < len(points[arm]) or any(x != x for x in v) for arm, v in values.items()):
                continue
            drawn = {arm: torch.stack([v[s.key] for v in spread[arm]], 1).gather(1, picks[arm]).mean(1) for arm in ARMS}
            change = drawn["closed"] - drawn["control"]
            change = change[~change.isnan()]
            side = (1 - level) / 2
            low, high = float(change.quantile(side)), float(change.quantile(1 - side))
            sums = {arm: summarise(v) for arm, v in values.items()}
            task_head = head.partition(" on ")[0]
            served = asked.get((task_head, s.key))
            rows.append(
                ClosedGap(
                    *(head, s.key, s.metric, served is not None, served or "", float(first[s.key])),
                    *(sums["control"], sums["closed"], sums["closed"]["mean"] - sums["control"]["mean"], low, high),
                    *(s.count, s.unit, s.images, _verdict(low, high, s.higher_is_better)),
                )
            )
    return sorted(rows, key=lambda r: (r.head, r.key != "all/all", not r.is_asked))


def _verdict(low: float, high: float, higher_is_better: bool) -> str:
    if low > 0:
        return "gained" if higher_is_better else "lost"
    if high < 0:
        return "lost" if higher_is_better else "gained"
    return "no clear difference"
