"""Spend less on experts: fewer per token, as many as a probability asks for, only some of them, twins as one.

Nothing is trained and nothing is lost: a budget is a change of routes, and it can be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..backbones.describe import active_parameters, count_flops
from ..errors import ConfigError, UnknownName, VisgenError, nearest
from ..nn.bank import ExpertBank
from ..nn.route import Route
from .banks import expert_banks, find_route
from .stats import ExpertStats

__all__ = ["Budget", "budget_cost", "near_duplicates", "reset_budget", "set_budget"]

PerLayer = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Budget:
    """What `set_budget` changed; `undo`, or leaving a `with` block, takes it back to the last bit.

    Attributes:
        model: The model.
        before: (layer, router) -> the route that was.
        merged: Layer -> groups of experts that are one now, with its number: [([1, 4], 12)].
    """

    model: Any
    before: Mapping[tuple[str, str], Route]
    merged: dict[str, list[tuple[Sequence[int], int]]]

    def undo(self) -> None:
        """Give the tasks the routes that they had, and drop merged experts.

        Raises:
            ConfigError: Experts were added since, or another task was given the merged ones; undo that first.
        """
        banks = expert_banks(self.model)
        for (layer, task), route in self.before.items():
            router = banks[layer].router
            # as many scores as it has, also while merged experts still make the bank larger
            router.set_route(task, route if route.index else replace(route, width=router.scores_of(task)))
        for layer, groups in self.merged.items():
            for _ in groups:
                banks[layer].drop_last(1)
        _note(self.model)

    def __enter__(self) -> Budget:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


def set_budget(
    model: Any,
    tasks: str | Sequence[str],
    *,
    k: int | Mapping[str, int] | None = None,
    tau: float | Mapping[str, float] | None = None,
    allow: PerLayer | None = None,
    deny: PerLayer | None = None,
    merge: Mapping[str, Sequence[Sequence[int]]] | None = None,
    usage: ExpertStats | None = None,
) -> Budget:
    """Change what tokens of some tasks may spend, in place; what takes other routers stays equal to the last bit.

    Args:
        model: A model with experts.
        tasks: Tasks, heads or routers; every head that takes their router is changed.
        k: Experts per token, at most what the layer was built with; a number means at most this in every layer. With
            gates that are normalised (the default) the scale of outputs stays; with gate_norm "none" it shrinks.
        tau: Visit only as many of the k as it takes for their probabilities to reach tau; 1 visits all k.
        allow: Layer -> the only experts that may be visited.
        deny: Layer -> experts that may not.
        merge: Layer -> groups of experts that these tasks use as one: the mean of their weights, weighted by the
            visits that the tasks pay them. Lossy, but for twins; see `near_duplicates`. The parts stay in the bank, so
            that it can be undone; `extract_task` leaves them behind.
        usage: Statistics, for the weights of `merge`; without them all weigh the same.
    Returns:
        The handle to undo it. Budgets may be stacked; undo the last first.
    Raises:
        UnknownName: A task or layer that is not there.
        ConfigError: A number out of range, or fewer experts open than a token visits. The model is then unchanged.
    """
    banks = expert_banks(model)
    routes = list(dict.fromkeys(find_route(model, t) for t in ([tasks] if isinstance(tasks, str) else tasks)))
    for name, given in (("k", k), ("tau", tau), ("allow", allow), ("deny", deny), ("merge", merge)):
        for layer in given if isinstance(given, Mapping) else ():
            if layer not in banks:
                raise UnknownName(
                    f"{name} names layer '{layer}', which is not routed{nearest(layer, banks)} Routed: "
                    f"{', '.join(banks)}."
                )
    before = {(layer, task): bank.router.route(task) for layer, bank in banks.items() for task in routes}
    done = Budget(model, before, {})
    try:
        for layer, bank in banks.items():
            joined = done.merged.setdefault(layer, [])
            for group in (merge or {}).get(layer, ()):
                joined.append(_merge(bank, layer, group, routes, usage))
            for task in routes:
                closed = _closed(before[layer, task], bank, layer, allow, deny)
                route = _merged_route(bank.router.route(task), bank, joined)
                route = replace(route, deny=(*route.deny, *closed))
                bank.router.set_route(task, _spend(route, bank, layer, k, tau))
    except VisgenError:
        done.undo()
        raise
    _note(model)
    return done


def reset_budget(model: Any, tasks: str | Sequence[str] | None = None) -> None:
    """Take every budget of some tasks (all when None) away, also one that was saved with the model.

    Raises:
        ConfigError: A merge on top of an extract, which cannot be told apart after saving; use `Budget.undo`.
    """
    banks = expert_banks(model)
    names = [tasks] if isinstance(tasks, str) else tasks
    routes = list(model.backbone.tasks if names is None else dict.fromkeys(find_route(model, name) for name in names))
    plain: dict[tuple[str, str], Route] = {}
    for layer, bank in banks.items():
        for task in routes:
            route = replace(bank.router.route(task), top_k=None, tau=None, deny=())
            left = len(route.open(bank.router.num_experts))  # an extract may hold fewer experts than the layer's k
            route = replace(route, top_k=left if left < bank.router.top_k else None)
            if route.index is not None:
                scores = len(route.index)
                if any(e != i and e < scores for i, e in enumerate(route.index)):
                    there = [e for e in route.index if e >= 0]
                    if len(set(there)) < len(there):
                        raise ConfigError(
                            f"router '{task}' of layer {layer} sees an extract with merged experts; what was merged is "
                            "known to the handle of set_budget alone."
                        )
                else:
                    route = replace(route, index=None, width=scores)
            plain[layer, task] = route
    for (layer, task), route in plain.items():
        banks[layer].router.set_route(task, route)
    for bank in banks.values():
        _drop_unseen(bank)
    _note(model)


def near_duplicates(model: Any, threshold: float = 0.98) -> dict[str, list[list[int]]]:
    """Groups of experts whose weights point the same way, for `set_budget(merge=...)`.

    Args:
        model: A model with experts.
        threshold: Least cosine between all weights of two experts, in (0, 1].
    Returns:
        Layer -> groups of two or more; layers without one are left out. Hidden units are compared in their order, so
        twins that came about by copying are found and those that differ by a permutation are not.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold is {threshold}; it is a cosine, so use 0 < threshold <= 1.")
    found = {}
    for layer, bank in expert_banks(model).items():
        tensors = bank.expert_tensors(range(bank.router.num_experts)).values()
        flat = torch.nn.functional.normalize(torch.cat([t.double().flatten(1) for t in tensors], dim=1), dim=1)
        close = flat @ flat.t() >= threshold - 1e-12
        groups: list[list[int]] = []
        for e in range(len(flat)):
            home = next((g for g in groups if bool(close[e, g].all())), None)
            if home is None:
                groups.append([e])
            else:
                home.append(e)
        several = [g for g in groups if len(g) > 1]
        if several:
            found[layer] = several
    return found


@torch.no_grad()
def budget_cost(model: Any, task: str, images: Sequence[Tensor]) -> dict[str, Any]:
    """What a task costs now, on these images.

    Args:
        model: A model with experts.
        task: Task, head or router.
        images: (3, H, W) each; with tau the cost depends on them.
    Returns:
        `flops`, multiply-adds of the backbone, mean over the images; `active_parameters`, what one token meets at most;
        `visits` {layer: mean experts per token}.
    """
    route = find_route(model, task)
    visits = dict.fromkeys(expert_banks(model), 0.0)
    flops = 0
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    for image in images:
        x = image[None].to(device)
        flops += sum(count_flops(model.backbone, (0, 0), route, images=x).values())
        found = model.backbone(x, route, collect=True).extras["routing"]
        for layer, one in zip(visits, found, strict=True):
            visits[layer] += float(one["selected"].sum() / one["rows"].sum()) / len(images)
    model.train(was_training)
    return {
        "flops": round(flops / len(images)),
        "active_parameters": active_parameters(model.backbone, route),
        "visits": visits,
    }


def _spend(
    route: Route,
    bank: ExpertBank,
    layer: str,
    k: int | Mapping[str, int] | None,
    tau: float | Mapping[str, float] | None,
) -> Route:
    """The route with k and tau of a layer filled in."""
    most = min(bank.router.top_k, route.top_k or bank.router.top_k)
    want = k.get(layer) if isinstance(k, Mapping) else None if k is None else min(k, most)
    if want is not None:
        if not 1 <= want <= bank.router.top_k:
            raise ConfigError(
                f"k is {want} but layer '{layer}' visits {bank.router.top_k}; a budget spends less: use 1.."
                f"{bank.router.top_k}."
            )
        route = replace(route, top_k=None if want == bank.router.top_k else want)
    share = tau.get(layer) if isinstance(tau, Mapping) else tau
    return route if share is None else replace(route, tau=share)


def _closed(
    route: Route, bank: ExpertBank, layer: str, allow: PerLayer | None, deny: PerLayer | None
) -> tuple[int, ...]:
    """The scores that lists of experts close."""
    count = bank.router.num_experts
    for name, given in (("allow", allow), ("deny", deny)):
        wrong = [e for e in (given or {}).get(layer, ()) if not 0 <= e < count]
        if wrong:
            raise ConfigError(
                f"{name} names expert {wrong[0]} of layer '{layer}', which has {count}; use 0..{count - 1}."
            )
    forbidden = set((deny or {}).get(layer, ()))
    if allow is not None and layer in allow:
        forbidden |= set(range(count)) - set(allow[layer])
    index = range(route.scores(count)) if route.index is None else route.index
    return tuple(i for i, e in enumerate(index) if e in forbidden)


def _merge(
    bank: ExpertBank, layer: str, group: Sequence[int], routes: Sequence[str], usage: ExpertStats | None
) -> tuple[list[int], int]:
    """Append the weighted mean of some experts and give them with its number."""
    members = sorted(set(group))
    if len(members) < 2 or not 0 <= members[0] <= members[-1] < bank.router.num_experts:
        raise ConfigError(
            f"experts {list(group)} of layer '{layer}' cannot be merged; name two or more of "
            f"0..{bank.router.num_experts - 1}."
        )
    share = torch.ones(len(members), dtype=torch.float64)
    if usage is not None:
        rows = [usage.task(route) for route in routes]
        visits = usage.layer(layer).load[rows].sum(0)[members]
        share = visits if float(visits.sum()) else share
    share = share / share.sum()
    tensors = {
        name: torch.tensordot(share.to(t.device), t.double(), dims=1).to(t.dtype)[None]
        for name, t in bank.expert_tensors(members).items()
    }
    part = bank.append(tensors)
    return members, bank.part_experts(part)[0]


def _merged_route(route: Route, bank: ExpertBank, joined: Sequence[tuple[Sequence[int], int]]) -> Route:
    """The route with the experts of each group replaced by the one that they became."""
    if not joined:
        return route
    index = list(range(route.scores(bank.router.num_experts)) if route.index is None else route.index)
    for members, one in joined:
        index = [one if e in members else e for e in index]
    return replace(route, index=tuple(index), width=None)


def _drop_unseen(bank: ExpertBank) -> None:
    """Drop single experts at the end that no task sees: what merging appended."""
    seen = max(max(bank.router.route(t).experts(bank.router.num_experts)) for t in bank.router.tasks)
    while bank.num_parts > 1 and bank.part_sizes[-1] == 1 and bank.router.num_experts - 1 > seen:
        bank.drop_last(1)


def _note(model: Any) -> None:
    getattr(model, "backbone", model).changes()
