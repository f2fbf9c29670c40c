"""A part of a model as a model of its own: the experts that some tasks visit, their routers and heads, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..backbones.describe import count_flops
from ..errors import ConfigError
from ..nn.moe import MoEMlp
from ..nn.route import GONE, Route
from ..task import MultiTaskModel, build_model
from .banks import expert_banks
from .rules import rival_experts, select_experts
from .stats import ExpertStats

__all__ = ["ExtractReport", "choose_experts", "extract_experts", "extract_task", "largest_change"]


@dataclass(frozen=True)
class ExtractReport:
    """What was cut out and what it costs.

    Attributes:
        heads: Heads of the new model.
        rule, theta, keep, exact: How it was cut.
        experts: Layer -> experts kept, by their old numbers.
        banks: Layer -> experts that there were.
        parameters: {"before", "same_heads" (the whole backbone with these heads alone), "after"}.
        flops: Router -> {"before", "after"}: multiply-adds of the backbone for one image of `size` by fvcore. Experts
            that nobody visits cost none, so these hardly fall.
        size: (H, W) of that image.
        dropped: Router -> layer -> share of the task's visits that went to experts now gone.
        change: Head -> largest change of a logit on the probe images; for heads that stand on another, router -> of a
            feature. None without probe images.
    """

    heads: tuple[str, ...]
    rule: str
    theta: float | None
    keep: int | None
    exact: bool
    experts: dict[str, list[int]]
    banks: dict[str, int]
    parameters: dict[str, int]
    flops: dict[str, dict[str, int]]
    size: tuple[int, int]
    dropped: dict[str, dict[str, float]]
    change: dict[str, float] | None = field(default=None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"heads": list(self.heads), "size": list(self.size)}


def extract_task(
    model: MultiTaskModel,
    heads: str | Sequence[str],
    theta: float = 0.03,
    *,
    stats: ExpertStats,
    keep: int | None = None,
    keep_min: int | None = None,
    exact: bool = True,
    rule: str = "load",
    seed: int = 0,
    probe: Sequence[Tensor] = (),
    size: tuple[int, int] = (224, 224),
) -> tuple[MultiTaskModel, ExtractReport]:
    """Cut out the sub-network of one task, or of several together; nothing is trained again.

    Args:
        model: Stays as it is.
        heads: Heads, or tasks for their default heads; heads that they stand on come along.
        theta: Keep the experts that more than this share of a task's tokens visit.
        stats: From `collect_expert_stats`, on data of these tasks.
        keep: Keep this many experts of each layer instead; below k, tokens then visit only so many.
        keep_min: Keep at least so many for each task; its k when None.
        exact: Keep the router at full width and the arithmetic the same, so that outputs are equal to the last bit
            where only experts go that the images never visit. A routed MLP then keeps one more expert than k, because
            with k alone it would be computed as a dense one. False cuts the routers too and lets that happen: outputs
            agree to rounding with gates that are normalised over the top k; with gate_norm "none" they move by what
            the routers gave to the experts that go, visited or not (`change` in the report).
        rule: "load", or a rival of the same size: "random" or "magnitude".
        seed: For "random".
        probe: Images (3, H, W) to measure the change of outputs on.
        size: (H, W) of the image whose FLOPs are counted.
    Returns:
        The new model, in evaluation mode, and the report.
    Raises:
        UnknownName: A head that the model lacks, or a task without statistics.
        ConfigError: A theta, number or rule that does not fit.
    """
    names, chosen = choose_experts(model, heads, theta, stats=stats, keep=keep, keep_min=keep_min, exact=exact)
    chosen = rival_experts(model, chosen, rule, seed)
    routes = list(dict.fromkeys(model.route(name) for name in names))
    banks = expert_banks(model)
    part = extract_experts(model, names, chosen, exact=exact)
    dropped = {}
    for route in routes:
        row = stats.task(route)
        dropped[route] = {
            layer.name: float(1 - layer.load[row][chosen[layer.name]].sum() / layer.load[row].sum().clamp_min(1e-12))
            for layer in stats.layers
        }
    trimmed = extract_experts(model, names, {n: list(range(b.router.num_experts)) for n, b in banks.items()})
    report = ExtractReport(
        heads=tuple(names),
        rule=rule,
        theta=None if keep is not None else theta,
        keep=keep,
        exact=exact,
        experts=chosen,
        banks={name: bank.router.num_experts for name, bank in banks.items()},
        parameters={
            "before": _count(model),
            "same_heads": _count(trimmed),
            "after": _count(part),
        },
        flops={
            route: {
                "before": sum(count_flops(model.backbone, size, route).values()),
                "after": sum(count_flops(part.backbone, size, route).values()),
            }
            for route in routes
        },
        size=size,
        dropped={route: {n: max(0.0, share) for n, share in rows.items()} for route, rows in dropped.items()},
        change=largest_change(model, part, probe) if len(probe) else None,
    )
    return part, report


def choose_experts(
    model: MultiTaskModel,
    heads: str | Sequence[str],
    theta: float = 0.03,
    *,
    stats: ExpertStats,
    keep: int | None = None,
    keep_min: int | None = None,
    exact: bool = True,
) -> tuple[list[str], dict[str, list[int]]]:
    """Give the heads that come along and the experts of each layer that `extract_task` would keep; see there."""
    names = _with_below(model, [heads] if isinstance(heads, str) else heads)
    routes = list(dict.fromkeys(model.route(name) for name in names))
    banks = expert_banks(model)
    least = {}
    for name, bank in banks.items():
        k = max(bank.router.k_of(route) for route in routes)
        least[name] = max(1, min(k if keep_min is None else keep_min, bank.router.num_experts))
    chosen = select_experts(model, stats, routes, theta=theta, keep=keep, least=least)
    if exact:
        for name, experts in chosen.items():
            if _would_be_dense(banks[name], experts, routes):
                chosen[name] = _one_more(experts, stats, name, routes)
    return names, chosen


def extract_experts(
    model: MultiTaskModel, heads: Sequence[str], chosen: Mapping[str, Sequence[int]], *, exact: bool = True
) -> MultiTaskModel:
    """Build the model that has only these heads, their routers, and these experts.

    Args:
        model: Stays as it is.
        heads: Head names, those that they stand on included.
        chosen: Layer -> experts to keep, for every routed layer.
        exact: See `extract_task`.
    Raises:
        ConfigError: A layer without an expert that a task may visit, or the model has no configuration.
    """
    config = model.config()
    if not config:
        raise ConfigError("this model has no configuration to cut; build it with visgen.task.build_model(config).")
    routes = list(dict.fromkeys(model.route(name) for name in heads))
    tasks = [task for task in model.backbone.tasks if task in routes]  # type: ignore[union-attr]
    shapes: dict[str, Any] = {}
    columns: dict[tuple[str, str], list[int]] = {}
    for name, bank in expert_banks(model).items():
        kept = sorted(set(chosen[name]))
        place = {e: i for i, e in enumerate(kept)}
        found = {}
        for task in tasks:
            route, left = _cut(bank.router.route(task), bank.router.num_experts, place, exact)
            open_ = len(route.open(len(kept)))
            k = bank.router.k_of(task)
            if not open_:
                raise ConfigError(f"layer '{name}' would keep no expert that '{task}' may visit; keep one of its own.")
            route = replace(route, top_k=open_) if open_ < k else route
            found[task] = route.options()
            columns[name, task] = left
        is_whole = len(kept) == bank.router.num_experts
        base = {"parts": [len(kept)], "routes": {t: o for t, o in found.items() if o}}
        if not (is_whole and not base["routes"]) or name in (config["backbone"].get("banks") or {}):
            shapes[name] = base if base["routes"] else {"parts": base["parts"]}
    options = {k: v for k, v in config["backbone"].items() if k != "banks"} | {"tasks": tasks}
    plain = {
        **config,
        "backbone": options | ({"banks": shapes} if shapes else {}),
        "heads": {name: config["heads"][name] for name in heads},
        "default_heads": {t: h for t, h in config["default_heads"].items() if h in heads},
    }
    part = build_model(plain, load_weights=False)
    part.load_state_dict(_state(model, part, chosen, columns))
    return part.to(next(model.parameters()).device).eval()


@torch.no_grad()
def largest_change(before: MultiTaskModel, after: MultiTaskModel, probe: Sequence[Tensor]) -> dict[str, float]:
    """Largest absolute difference over images between the outputs of two models, for the heads of the second.

    Args:
        before, after: Models.
        probe: Images (3, H, W).
    Returns:
        Head -> of its logits; for a head that stands on another, router -> of the features that it reads.
    """
    worst: dict[str, float] = {}
    was = before.training
    before.eval()
    for image in probe:
        x = image[None].to(next(before.parameters()).device)
        for name in after.specs:
            if after.below(name) is None:
                key, pairs = name, zip(_tensors(before(x, name)[0]), _tensors(after(x, name)[0]), strict=True)
            else:
                key = after.route(name)
                old, new = before.backbone(x, key), after.backbone(x, key)
                pairs = zip((*old.pyramid.values(), old.token), (*new.pyramid.values(), new.token), strict=True)
            change = max(float((a - b).abs().max()) if a.numel() else 0.0 for a, b in pairs)
            worst[key] = max(worst.get(key, 0.0), change)
    before.train(was)
    return worst


def _cut(route: Route, bank: int, place: Mapping[int, int], exact: bool) -> tuple[Route, list[int]]:
    """The route into the smaller bank, and the scores of the old router that it keeps."""
    old = range(route.scores(bank)) if route.index is None else route.index
    new = [place.get(e, GONE) for e in old]
    if exact:
        left = list(range(len(new)))
        denied = route.deny
    else:
        left = [i for i, e in enumerate(new) if e != GONE and i not in route.deny]
        denied = ()
    index = tuple(new[i] for i in left)
    plain = index == tuple(range(len(index)))
    width = None if not plain or len(index) == len(place) else len(index)
    return replace(route, index=None if plain else index, width=width, deny=denied), left


def _state(
    model: MultiTaskModel,
    part: MultiTaskModel,
    chosen: Mapping[str, Sequence[int]],
    columns: Mapping[tuple[str, str], list[int]],
) -> dict[str, Tensor]:
    """The tensors of the smaller model, cut from those of the larger one."""
    whole = model.state_dict()
    state = {name: whole[name] for name in part.state_dict() if name in whole}
    for layer, bank in expert_banks(model).items():
        stem = f"backbone.{layer}."
        for name, value in bank.expert_tensors(sorted(set(chosen[layer]))).items():
            state[stem + name] = value
        for task in part.backbone.tasks:  # type: ignore[union-attr]
            left = columns[layer, task]
            scores = bank.router.scores_of(task)
            rows = [*left, *(scores + i for i in left)] if bank.router.noise == "learned" else left
            for name in ("weight", "bias"):
                key = f"{stem}router.tasks.{task}.{name}"
                if key in whole:
                    state[key] = whole[key][rows]
    return state


def _with_below(model: MultiTaskModel, heads: Sequence[str]) -> list[str]:
    """Head names in the model's order, with those that they stand on or are weighed by."""
    wanted = {model.resolve(name) for name in heads}
    if not wanted:
        raise ConfigError("no head is named; name one or more to cut out.")
    wanted = set(model.with_needed(wanted))
    return [name for name in model.specs if name in wanted]


def _would_be_dense(bank: Any, experts: Sequence[int], routes: Sequence[str]) -> bool:
    """A routed MLP with as many experts as a token visits is computed without sorting, and rounds otherwise."""
    k = {bank.router.k_of(route) for route in routes}
    return isinstance(bank, MoEMlp) and len(experts) in k and len(experts) < bank.router.num_experts


def _one_more(experts: Sequence[int], stats: ExpertStats, layer: str, routes: Sequence[str]) -> list[int]:
    load = stats.layer(layer).load[[stats.task(route) for route in routes]].sum(0)
    others = [e for e in torch.sort(load, descending=True, stable=True).indices.tolist() if e not in experts]
    return sorted([*experts, others[0]])


def _count(model: MultiTaskModel) -> int:
    return sum(p.numel() for p in model.parameters())


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value.float()]
    if isinstance(value, Mapping):
        return [t for one in value.values() for t in _tensors(one)]
    if isinstance(value, (list, tuple)):
        return [t for one in value for t in _tensors(one)]
    return [t for one in vars(value).values() for t in _tensors(one)] if hasattr(value, "__dict__") else []
