"""What a model keeps of its accuracy when experts go: the sub-network against rivals of its size, and budgets."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ..data import Source
from ..data.cached import Cached
from ..engine import evaluate
from ..errors import ConfigError
from ..metrics import summarise
from ..structures.working_size import resize_for_work
from ..task import MultiTaskModel
from .banks import expert_banks
from .budget import budget_cost, set_budget
from .extract import choose_experts, extract_experts, extract_task
from .prefix_cache import PrefixCache
from .rules import rival_experts
from .stats import ExpertStats

__all__ = ["budget_curve", "extraction_curve", "silenced", "summarise_curves"]

Progress = Callable[[str], None]

CACHE_BYTES = 2**29  # what the prefix of some 500 pictures of 320x240 takes
BATCH = 8  # pictures of one size that are measured together


def extraction_curve(
    model: MultiTaskModel,
    head: str,
    source: Source,
    stats: ExpertStats,
    *,
    thetas: Sequence[float] = (),
    keeps: Sequence[int] = (),
    seeds: Sequence[int] = (0, 1, 2),
    limit: int | None = None,
    metric: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure sub-networks of one head over their size, beside random and magnitude selections of the same size.

    The same function builds all of them; only the rule that picks experts differs. Nothing is trained again.

    Args:
        model: The full model.
        head: Head to measure.
        source: Labelled data, not those that the statistics came from if the choice is to be tested.
        stats: Whose visits decide.
        thetas: Points of the theta rule.
        keeps: Points that keep this many of the most visited experts in every layer; below k a token visits fewer.
        seeds: Of the random selections.
        limit: Images, evenly spaced.
        metric: Options of the task's metric.
        progress: Told what is measured next.
    Returns:
        {"head", "full": metrics of the full model, "silent": metrics when the routed layers add nothing at all,
        "points": [{"theta" or "keep", "experts": {layer: number}, "parameters", "dropped": {layer: share}, "load":
        metrics, "magnitude": metrics, "random": {metric: summary over seeds}}]}. Where "silent" is as good as "full",
        the answer does not come from the experts, and no choice among them can matter.
    Raises:
        ConfigError: No point, or fewer than two seeds.
    """
    if not thetas and not keeps:
        raise ConfigError("thetas and keeps are both empty; give at least one point to measure.")
    if len(seeds) < 2:
        raise ConfigError(f"seeds are {list(seeds)}; a random rival needs two or more to show its spread.")
    name, route = model.resolve(head), model.route(model.resolve(head))
    score = _scorer(model, source, name, limit, metric)
    points = []
    for kind, value in [*(("theta", t) for t in thetas), *(("keep", float(n)) for n in keeps)]:
        chosen: dict[str, Any] = {"theta": value} if kind == "theta" else {"keep": int(value)}
        if progress is not None:
            progress(f"{name}: {kind} {value:g}")
        part, report = extract_task(model, name, stats=stats, **chosen)
        names, own = choose_experts(model, name, stats=stats, **chosen)
        rivals = {
            rule: [score(extract_experts(model, names, rival_experts(model, own, rule, s))) for s in many]
            for rule, many in (("magnitude", (0,)), ("random", seeds))
        }
        points.append(
            {
                **chosen,
                "experts": {layer: len(kept) for layer, kept in report.experts.items()},
                "parameters": report.parameters["after"],
                "dropped": report.dropped[route],
                "load": score(part),
                "magnitude": rivals["magnitude"][0],
                "random": {key: summarise([one[key] for one in rivals["random"]]) for key in rivals["random"][0]},
            }
        )
    return {"head": name, "full": score(model), "silent": score(silenced(model)), "points": points}


def summarise_curves(curves: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """Bring the curves of models that differ in their seed together.

    Args:
        curves: From `extraction_curve`, with the same points.
        metric: Which figure.
    Returns:
        "full", "silent" and for each point ("keep 4", "theta 0.03") "visited most", "random" (of each model the mean
        over its draws), "largest weights" and, paired by model, "over random": summaries over the models; and of each
        point the "parameters" of the first.
    """
    found: dict[str, Any] = {key: summarise([curve[key][metric] for curve in curves]) for key in ("full", "silent")}
    for points in zip(*(curve["points"] for curve in curves), strict=True):
        first = points[0]
        label = f"keep {first['keep']}" if "keep" in first else f"theta {first['theta']:g}"
        visited, largest = ([point[rule][metric] for point in points] for rule in ("load", "magnitude"))
        drawn = [point["random"][metric]["mean"] for point in points]
        rows = {"visited most": visited, "random": drawn, "largest weights": largest}
        rows["over random"] = [a - b for a, b in zip(visited, drawn, strict=True)]
        found[label] = {name: summarise(values) for name, values in rows.items()} | {"parameters": first["parameters"]}
    return found


def silenced(model: MultiTaskModel) -> MultiTaskModel:
    """Give a copy whose routed layers add nothing to the tokens, for measuring only: it cannot be saved as such."""
    variant = copy.deepcopy(model)
    for bank in expert_banks(variant).values():
        bank.register_forward_hook(lambda bank, inputs, output: (torch.zeros_like(output[0]), output[1]))
    return variant


def budget_curve(
    model: MultiTaskModel,
    head: str,
    source: Source,
    *,
    ks: Sequence[int] = (),
    taus: Sequence[float] = (),
    limit: int | None = None,
    probes: int = 8,
    metric: Mapping[str, Any] | None = None,
    clock: Callable[[Mapping[str, Callable[[], Any]]], Mapping[str, Sequence[float]]] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure accuracy, FLOPs and latency of one head while its tokens visit fewer experts.

    Args:
        model: The full model; its routes are the same afterwards.
        head: Head to measure.
        source: Labelled data.
        ks: Points with at most so many experts per token in every layer.
        taus: Points where a token visits as many as its probabilities need to reach tau.
        limit: Images, evenly spaced.
        probes: First images of the source for FLOPs and visits, and the first of them for latency.
        metric: Options of the task's metric.
        clock: Times cases side by side and gives seconds by name; None leaves latency out.
        progress: Told what is measured next.
    Returns:
        {"head", "points": [{"case", "k" or "tau" (neither for the full model, which is first), "metrics", "flops",
        "active_parameters", "visits": {layer: experts per token}, "latency_ms" (median)}]}.
    Raises:
        ConfigError: No point, or a value out of range.
    """
    if not ks and not taus:
        raise ConfigError("ks and taus are both empty; give at least one point to measure.")
    name = model.resolve(head)
    route, score = model.route(name), _scorer(model, source, name, limit, metric)
    images = [
        resize_for_work(source[i].image, model.max_side, model.min_side or None)
        for i in range(min(probes, len(source)))
    ]
    wanted: list[tuple[str, dict[str, Any]]] = [("full", {})]
    wanted += [(f"k {k}", {"k": k}) for k in ks] + [(f"tau {tau:g}", {"tau": tau}) for tau in taus]
    points, cases = [], {}
    for case, chosen in wanted:
        if progress is not None:
            progress(f"{name}: {case}")
        variant = copy.deepcopy(model)
        if chosen:
            set_budget(variant, route, **chosen)
        points.append({"case": case, **chosen, "metrics": score(variant), **budget_cost(variant, route, images)})
        cases[case] = partial(variant.predict, images[0][None], [name])
    for case, seconds in (clock(cases) if clock is not None else {}).items():
        point = next(p for p in points if p["case"] == case)
        point["latency_ms"] = statistics.median(seconds) * 1e3
    return {"head": name, "points": points}


def _scorer(
    model: MultiTaskModel, source: Source, head: str, limit: int | None, metric: Mapping[str, Any] | None
) -> Callable[[MultiTaskModel], dict[str, float]]:
    """Give a function that measures variants of a model which share its prefix; pictures and prefix are kept."""
    pictures, prefix = Cached(source), PrefixCache(CACHE_BYTES)

    def score(variant: MultiTaskModel) -> dict[str, float]:
        before, variant.prefix_cache = variant.prefix_cache, prefix
        try:
            report = evaluate(
                variant,
                pictures,
                head,
                batch_size=BATCH,
                limit=limit,
                metric=metric,
                max_side=model.max_side,
                min_side=model.min_side or None,
            )
        finally:
            variant.prefix_cache = before
        return report.metrics

    return score
