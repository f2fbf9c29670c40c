"""What a model keeps of its accuracy when experts go: the sub-network against rivals of its size, and budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..data import Source
from ..data.cached import Cached
from ..engine import evaluate
from ..errors import ConfigError
from ..metrics import summarise
from ..task import MultiTaskModel
from .extract import choose_experts, extract_experts, extract_task
from .prefix_cache import PrefixCache
from .rules import rival_experts
from .stats import ExpertStats

__all__ = ["extraction_curve"]

Progress = Callable[[str], None]

CACHE_BYTES = 2**29  # what the prefix of some 500 pictures of 320x240 takes


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
        {"head", "full": metrics of the full model, "points": [{"theta" or "keep", "experts": {layer: number},
        "parameters", "dropped": {layer: share}, "load": metrics, "magnitude": metrics, "random": {metric: summary over
        seeds}}]}.
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
    return {"head": name, "full": score(model), "points": points}


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
                limit=limit,
                metric=metric,
                max_side=model.max_side,
                min_side=model.min_side or None,
            )
        finally:
            variant.prefix_cache = before
        return report.metrics

    return score
