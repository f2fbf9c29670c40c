"""Prepare a model for a new label set: a head, a router of its own, added experts; and what became of the old heads."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..engine import with_head
from ..errors import ConfigError
from ..nn.route import Route
from ..nn.routing import TaskRouter
from ..task import HeadSpec, MultiTaskModel
from .heads import with_heads
from .selection import Selection
from .usage import most_used

__all__ = ["ROUTER_NOISE", "add_experts", "copy_router", "heads_untouched", "start_model"]

ROUTER_NOISE = 0.02  # the standard deviation that fresh routers have


def start_model(
    base: MultiTaskModel,
    head: str,
    spec: HeadSpec | None,
    selection: Selection,
    usage: Mapping[str, Sequence[float]],
    keep_heads: bool,
    sides: tuple[int, int] | None = None,
) -> MultiTaskModel:
    """Give a copy of a model with a new head, ready for `set_trainable`.

    Args:
        base: Not changed.
        head: Name of the head. One that the model has goes on from its weights where its classes and options are those
            of `spec` (no options mean those that it has); else a fresh one takes its place.
        spec: What it answers; None when the model has it already and goes on with it.
        selection: What will train. Where it trains routers, a head that shares its router gets one of its own, which
            starts as a copy, so that the others keep theirs; "new" also adds experts, unless the last ones that were
            added are as many and seen by this router alone (visgen experts extend).
        usage: Routed layer to the share of tokens that visit each expert; experts that are added start as copies of
            the most used ones.
        keep_heads: Keep the other heads; else they go, with the routers that only they use.
        sides: (max_side, min_side) at which the model shall answer; None leaves them.
    Raises:
        ConfigError: The model has no router for the task.
    """
    cache, base.prefix_cache = base.prefix_cache, None
    try:
        model = copy.deepcopy(base).requires_grad_(True)
    finally:
        base.prefix_cache = cache
    if spec is not None:
        known = model.specs.get(head)
        route: str | None = _origin(model, head, spec)
        if selection.trains_routers and selection.kind != "full" and _banks(model):
            if not (known is not None and known.route == route and _is_alone(model, head)):
                route = _own_route(model, head, spec, str(route))
        elif route == spec.task:
            route = None
        if known is None:
            model.add_head(head, replace(spec, route=route))
        elif _goes_on(known, spec):
            weights = model.head(head).state_dict()
            model = with_head(model, head, replace(known, route=route))
            model.head(head).load_state_dict(weights)
        else:
            model = with_head(model, head, replace(spec, route=route))
        model = with_heads(model, None if keep_heads else [head], sides).requires_grad_(True)
    if selection.kind == "new":
        own = model.route(head)
        if not all(_holds_new(bank, own, selection.count) for bank in _banks(model).values()):
            add_experts(model, own, selection.count, usage)
    return model


def add_experts(model: MultiTaskModel, route: str, count: int, usage: Mapping[str, Sequence[float]]) -> None:
    """Add experts to every routed layer, as a part of their own that only one router sees, in place.

    A new expert starts as a copy of one of the router's most used ones, its router row as that one's with a little
    noise from torch's global generator: the two share the tokens and then part. Other routers score what they scored.

    Args:
        model: A MultiTaskModel.
        route: Name of the router.
        count: Experts per layer.
        usage: Routed layer to the share of tokens that visit each expert.
    Raises:
        ConfigError: A layer has fewer experts to copy, or the router's view of it was narrowed before.
    """
    for layer, bank in _banks(model).items():
        view = bank.router.route(route)
        if view.index is not None or view.deny:
            raise ConfigError(
                f"the router of '{route}' sees a part of layer {layer} only (a budget or an extract); add experts to "
                "the whole model."
            )
        scored = view.scores(bank.router.num_experts)
        copied = most_used(list(usage[layer])[:scored], count, layer)
        bank.append(bank.expert_tensors(copied))
        old = bank.router.tasks[route]
        del bank.router.tasks[route]
        bank.router.add_task(route, Route(top_k=view.top_k, tau=view.tau))
        wider = bank.router.tasks[route].to(old.weight.device)
        total = bank.router.num_experts
        # a router that did not see all experts before sees those now too, with fresh rows
        fresh = total - count - scored
        copy_router(old, wider, [*range(scored), *([None] * fresh), *copied], ROUTER_NOISE, total - count)
    model.backbone.changes()


def heads_untouched(model: MultiTaskModel, heads: Sequence[str]) -> list[str]:
    """Those of the heads that read nothing that trains, told by a small forward pass with gradients."""
    probe = torch.zeros(1, 3, 64, 64, device=next(model.parameters()).device)
    found = []
    with torch.enable_grad():
        state = model.backbone.prefix(probe)
        for name in heads:
            read: list[Tensor] = []
            for part in model.with_needed([name]):
                features = model.backbone.suffix(state, model.route(part))
                read += [features.token, *features.pyramid.values(), *model.head(part).parameters()]
            if not any(tensor.requires_grad for tensor in read):
                found.append(name)
    return found


def _goes_on(known: HeadSpec, spec: HeadSpec) -> bool:
    """Whether a head of the model is the one that is asked for."""
    same = (known.task, tuple(known.classes)) == (spec.task, tuple(spec.classes))
    return same and (not spec.options or dict(spec.options) == dict(known.options)) and spec.head in (None, known.head)


def _origin(model: MultiTaskModel, head: str, spec: HeadSpec) -> str:
    """The router that a head takes: one that it names, else its own so far, else that of its task's default head."""
    if spec.route is not None and spec.route in getattr(model.backbone, "tasks", ()):
        return spec.route
    like = head if head in model.specs else model.default_heads.get(spec.task)
    return spec.task if like is None else model.route(like)


def _is_alone(model: MultiTaskModel, head: str) -> bool:
    """Whether no other head takes the router of this one."""
    return all(model.route(other) != model.route(head) for other in model.specs if other != head)


def _holds_new(bank: Any, route: str, count: int) -> bool:
    """Whether the last experts that were added to a bank are `count`, and this router alone sees them."""
    router = bank.router
    last = set(bank.part_experts(bank.num_parts - 1))
    seen = {task: last & set(router.route(task).experts(router.num_experts)) for task in router.tasks}
    own = seen.pop(route)
    return bank.num_parts > 1 and len(last) == count and own == last and not any(seen.values())


def _own_route(model: MultiTaskModel, head: str, spec: HeadSpec, origin: str) -> str:
    """Add a router for a head, a copy of `origin`, and give its name."""
    tasks: tuple[str, ...] = model.backbone.tasks  # type: ignore[assignment]
    if origin not in tasks:
        raise ConfigError(
            f"head '{head}' is of task '{spec.task}', for which the model has no router; it routes {', '.join(tasks)}. "
            "Add the task first (visgen experts extend), or choose experts: full."
        )
    name = spec.route if spec.route and spec.route not in tasks else head.replace(".", "_")
    while name in tasks:
        name += "_"
    banks = _banks(model)
    model.backbone.add_task(name, {k: b.router.route(origin) for k, b in banks.items()})  # type: ignore[operator]
    for bank in banks.values():
        old, new = bank.router.tasks[origin], bank.router.tasks[name]
        copy_router(old, new, list(range(bank.router.scores_of(origin))), 0.0, bank.router.num_experts)
    embedding: Any = model.backbone.task_embedding
    if embedding is not None:
        with torch.no_grad():
            embedding[name].copy_(embedding[origin])
    return name


@torch.no_grad()
def copy_router(old: TaskRouter, new: TaskRouter, rows: Sequence[int | None], noise: float, clean: int) -> None:
    """Fill a router from another: score i takes row `rows[i]`, None stays fresh; rows from `clean` on get noise."""
    if old.down is not None and new.down is not None:
        new.down.load_state_dict(old.down.state_dict())
    for name in ("weight", "bias"):
        source, target = getattr(old, name), getattr(new, name)
        if source is None:
            continue
        # learned noise doubles the rows: scores first, then their spreads
        for half in range(len(target) // len(rows)):
            before = source.chunk(len(target) // len(rows))[half]
            after = target.chunk(len(target) // len(rows))[half]
            for i, row in enumerate(rows):
                if row is not None:
                    after[i] = before[row]
            if noise and half == 0:
                extra: Tensor = after[clean:]
                extra.add_(noise * torch.randn(extra.shape).to(extra.device))


def _banks(model: Any) -> dict[str, Any]:
    return getattr(model.backbone, "banks", {})
