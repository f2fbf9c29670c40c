"""Write requests as run files: one that trains with what was asked for, and its control without."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from ...config import HeadConfig, PartConfig, RunConfig, from_mapping, to_mapping
from ...data.source import split_spec
from ...errors import ConfigError
from ...task import TASKS
from ..parts import open_part
from .ask import Request
from .survey import Survey

__all__ = ["ASKED", "Settings", "run_mapping", "write_runs"]

ASKED = "asked-"
"""Prefix of the training parts that were asked for; the control has none of them."""


@dataclass(frozen=True)
class Settings:
    """How the model is trained on.

    Args:
        steps: Optimiser steps, the same with and without what was asked for.
        batch_size: Images of a step.
        lr: Peak learning rate.
        share: Share of the steps that what was asked for takes, divided evenly; the data sets divide the rest.
        seed: Of the run.
    """

    steps: int = 300
    batch_size: int = 8
    lr: float = 3e-4
    share: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"the share of what is asked for is {self.share}; use a number between 0 and 1.")


def run_mapping(
    survey: Survey,
    requests: Sequence[Request],
    model: Mapping[str, Any],
    weights: str | Path,
    settings: Settings | None = None,
    out: str = "runs/closed",
) -> dict[str, Any]:
    """Give the run file that trains a model on with what was asked for, as plain values that RunConfig takes.

    Args:
        survey: Where the gaps were found.
        requests: From `ask`; those that nothing serves are left out.
        model: `MultiTaskModel.config()`.
        weights: Safetensors file of the model.
        settings: How to train.
        out: Folder of the run.
    Raises:
        ConfigError: Nothing was asked for.
    """
    chosen = settings or Settings()
    served = [r for r in requests if r.part is not None]
    if not served:
        raise ConfigError(
            "nothing was asked for: no gap is weak, or no generator serves one; there is no run to write."
        )
    longest = int(model["max_side"])
    train: dict[str, Any] = {}
    val: dict[str, Any] = {}
    known = _names(survey)
    for one in survey.found:
        name, weight = known[one.report.head, one.data], (1 - chosen.share) / len(survey.found)
        train[name] = _training(one.train, weight, chosen.batch_size, longest, one.report.task)
        val[name] = _plain(one.reporting) | {"max_side": longest}
    for request in served:
        part = request.part
        assert part is not None
        task = request.head.partition(".")[0]
        name = _free(f"{ASKED}{request.served_by}-{request.gaps[0].replace('/', '-').replace(' ', '-')}", train)
        train[name] = _training(part, chosen.share / len(served), chosen.batch_size, longest, task)
    run = {
        "seed": chosen.seed,
        "out": out,
        "model": _model(model, weights),
        "data": {"train": train, "val": val, "mode": "per_rank"},
        "objective": {"loss_options": {n: dict(h["loss"]) for n, h in model["heads"].items() if h.get("loss")}},
        "optim": {"lr": chosen.lr, "warmup_steps": max(1, chosen.steps // 20), "min_lr_ratio": 0.01},
        "train": {"steps": chosen.steps, "workers": 0, "log_every": 10},
    }
    plain: dict[str, Any] = json.loads(json.dumps(run))  # tuples become lists, as YAML has them
    from_mapping(RunConfig, plain)
    return plain


def write_runs(
    path: str | Path, survey: Survey, requests: Sequence[Request], run: Mapping[str, Any] | None
) -> tuple[Path, Path, Path]:
    """Write FILE.yaml (the run), FILE.control.yaml (the same without what was asked for) and FILE.json (the gaps).

    Where compositions are asked for, FILE.compositional.yaml trains a head with the objective of that name.

    Args:
        path: FILE.yaml.
        survey, requests: What was found and asked for.
        run: From `run_mapping`; None writes the gaps alone.
    Returns:
        Run file, control and report; the first two may not exist.
    Raises:
        ConfigError: The name does not end in .yaml.
    """
    file = Path(path)
    if file.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"the run file is '{file.name}'; its name must end in .yaml.")
    control, report = file.with_suffix(".control.yaml"), file.with_suffix(".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    known = _names(survey)
    rows = [
        {
            "part": known[one.report.head, one.data],
            "data": one.data,
            "options": one.options,
            **{side: _plain(getattr(one, side)) for side in ("looked", "reporting", "train")},
            "report": one.report.to_dict(),
        }
        for one in survey.found
    ]
    asked = [{**vars(r), "part": None if r.part is None else _plain(r.part)} for r in requests]
    other = file.with_suffix(".compositional.yaml")
    for old in (file, control, other):  # of an earlier report
        old.unlink(missing_ok=True)
    report.write_text(json.dumps({"model": survey.model, "data": rows, "requests": asked}, indent=1) + "\n")
    if any(r.served_by == "compositional" for r in requests):
        lines = [
            "Trains a scene-graph head also on generated features of compositions that training hardly shows.",
            "The feature maps come first: visgen.engine.write_maps, as tasks/compositional/train.py calls it.",
            f"Command:  visgen train {other.name}",
        ]
        other.write_text("".join(f"# {line}\n" for line in lines) + _yaml(_compositional(file.stem)))
    if run is not None:
        file.write_text(_header(file, survey, requests) + _yaml(run))
        dropped = {name: None for name in run["data"]["train"] if name.startswith(ASKED)}
        without = {"extends": file.name, "out": f"{run['out']}-control", "data": {"train": dropped}}
        head = f"# The control of {file.name}: as many steps of as many pictures, without what was asked for.\n"
        control.write_text(head + _yaml(without))
    return file, control, report


def _compositional(name: str) -> dict[str, Any]:
    """A run file of the objective that perturbs compositions and generates their features."""
    run: dict[str, Any] = {
        "out": f"runs/{name}-compositional",
        "data": {"train": {"graphs": {"source": f"maps:runs/{name}-maps", "batch_size": 8}}},
        "objective": {
            "name": "compositional",
            "options": {"second": "generated", "perturb": {"name": "graphn", "alpha": 2, "share": 0.2, "nearest": 5}},
        },
        "optim": {"lr": 1e-3, "weight_decay": 1e-4, "warmup_steps": 30, "min_lr_ratio": 0.01, "clip_norm": 5.0},
        "train": {"steps": 600, "workers": 0},
    }
    from_mapping(RunConfig, run)
    return run


def _header(file: Path, survey: Survey, requests: Sequence[Request]) -> str:
    lines = [
        f"Trains {survey.model} on with pictures for its gaps; written by `visgen data gaps`.",
        "Gaps and requests:",
    ]
    for r in requests:
        lines.append(f"  {r.head}: {', '.join(r.gaps)}: {r.served_by or 'nothing'}: {r.note}")
    lines += [
        f"Command:  visgen train {file.name}",
        f"Or, with the control and figures before and after:  visgen data close {file.name}",
    ]
    return "".join(f"# {line}\n" for line in lines)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


def _names(survey: Survey) -> dict[tuple[str, str], str]:
    """A part name for each head and data set."""
    names: dict[tuple[str, str], str] = {}
    for one in survey.found:
        names[one.report.head, one.data] = _free(one.report.head.replace(".", "-"), set(names.values()))
    return names


def _free(name: str, taken: Any) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def _plain(part: PartConfig) -> dict[str, Any]:
    """A part's fields that differ from their defaults."""
    usual = {f.name: f.default for f in fields(PartConfig)}
    return {k: v for k, v in to_mapping(part).items() if v and v != usual[k]}


def _training(part: PartConfig, weight: float, batch_size: int, longest: int, task: str) -> dict[str, Any]:
    values = _plain(part) | {"weight": round(weight, 6), "batch_size": batch_size, "cache": True}
    values["split"] = part.split or "train"
    if task == "classification":  # photographs of all shapes stack as one square
        crop = {"name": "random_resized_crop", "size": longest, "scale": [0.5, 1.0], "ratio": [0.8, 1.25]}
        return values | {"transforms": [crop, {"name": "horizontal_flip"}]}
    is_town = split_spec(part.source)[0] == "town"  # all of one size; photographs come in any
    if not is_town or max(open_part(replace(part, wrap=()), "train", part.source)[0].size) > longest:
        values["shrink"] = [{"name": "resize", "size": longest, "max_size": longest}]
    return values | {"transforms": [{"name": "horizontal_flip"}]}


def _model(model: Mapping[str, Any], weights: str | Path) -> dict[str, Any]:
    backbone = dict(model["backbone"])
    heads = {}
    for name, head in model["heads"].items():
        if not TASKS.get(name.partition(".")[0]).is_trained:
            continue  # it would be fitted to data that the run may not have; visgen fit does so afterwards
        kept = {field.name: head[field.name] for field in fields(HeadConfig) if head.get(field.name)}
        heads[name] = {"task": name.partition(".")[0], **kept}
    return {
        "backbone": backbone.pop("name"),
        "options": backbone,
        "heads": heads,
        "default_heads": {task: name for task, name in (model.get("default_heads") or {}).items() if name in heads},
        "max_side": model["max_side"],
        "min_side": model["min_side"],
        "weights": str(weights),
    }
