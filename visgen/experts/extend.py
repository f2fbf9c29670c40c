"""A new task beside the old ones: its own router and head, perhaps a few experts, and nothing of the old ones moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from ..nn.bank import ExpertBank
from ..nn.routing import TaskRouter
from ..task import TASKS, HeadSpec, MultiTaskModel
from .banks import expert_banks, find_route
from .start import ROUTER_NOISE, copy_router
from .stats import ExpertStats
from .usage import most_used

__all__ = ["ExtendReport", "add_task"]

INITS = ("copy_top", "random", "mean")
ROUTER_INITS = ("copy", "random", "mean")


@dataclass(frozen=True)
class ExtendReport:
    """What a new task brought.

    Attributes:
        head, route: Its head, and its router.
        like: The router that it started from, or None.
        experts: Layer -> numbers of the experts that came with it.
        parameters: Values added: {"head", "router", "experts"}.
        trainable: Names of the parameters that train now; empty when nothing was frozen.
    """

    head: str
    route: str
    like: str | None
    experts: dict[str, list[int]]
    parameters: dict[str, int]
    trainable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"trainable": list(self.trainable)}


def add_task(
    model: MultiTaskModel,
    head: str,
    spec: HeadSpec,
    *,
    new_experts: int = 0,
    init: str = "copy_top",
    router_init: str = "copy",
    like: str | None = None,
    usage: ExpertStats | Mapping[str, Sequence[float]] | None = None,
    route: str | None = None,
    freeze: bool = True,
    seed: int = 0,
) -> ExtendReport:
    """Give a model one more task, in place, so that what it answered before stays equal to the last bit.

    Old routers keep their width: they cannot see the new experts, and an old task runs on exactly the problem that it
    was. The new router sees all experts, old and new. With `freeze`, only the new head, router, task embedding and
    experts train; frozen experts are Parameters of their own, so no optimizer can reach them by decay or momentum.

    Args:
        model: A model with experts.
        head: "<task>.<set>", a name that is not taken.
        spec: What the head answers; its `route` is filled in.
        new_experts: Experts to add to every routed layer.
        init: They start as copies of the experts that `like` visits most ("copy_top"), as the mean of all experts
            ("mean"), or fresh ("random").
        router_init: The router and task embedding start as those of `like` ("copy"), as the mean over the tasks
            ("mean"), or fresh ("random"). Rows of new experts are those of the experts that they copy, with a little
            noise; else fresh.
        like: Task, head or router to start from; the task of the head where it is routed.
        usage: Statistics with `like`, or layer -> share of tokens that visit each expert; for "copy_top".
        route: Name of the router; made from the head's when None.
        freeze: Freeze all that was there.
        seed: Of all that starts fresh; torch's global generator is left as it was.
    Raises:
        ConfigError: A name that is taken, an unknown way to start, or one whose `like` or usage is missing.
    Source: Chen et al. 2023 (Mod-Squad), arXiv:2212.08066, for experts that are added for a task.
    """
    for name, value, known in (("init", init, INITS), ("router_init", router_init, ROUTER_INITS)):
        if value not in known:
            raise ConfigError(f"{name} '{value}' is unknown{nearest(value, known, ';')} use {', '.join(known)}.")
    if new_experts < 0:
        raise ConfigError(f"new_experts is {new_experts}; use 0 or more.")
    if head in model.specs:
        raise ConfigError(f"head '{head}' is in the model already; choose another name.")
    if head.split(".")[0] != spec.task:
        raise ConfigError(f"head '{head}' has task '{spec.task}'; call it '{spec.task}' or '{spec.task}.<set>'.")
    if TASKS.get(spec.task).has_classes and not spec.classes:
        raise ConfigError(f"head '{head}' has no classes; name them (--classes), or data that tell them (--data).")
    if spec.classes and not TASKS.get(spec.task).has_classes:
        raise ConfigError(f"head '{head}' got the classes {', '.join(spec.classes)}, but its task has none; leave out.")
    banks = expert_banks(model)
    tasks: tuple[str, ...] = model.backbone.tasks  # type: ignore[assignment]
    own = route or head.replace(".", "_")
    if own in tasks:
        raise ConfigError(f"router '{own}' is in the model already; name another one as `route`.")
    is_known = spec.task in tasks or spec.task in model.default_heads
    origin = find_route(model, like or spec.task) if like is not None or is_known else None
    if origin is None and (router_init == "copy" or (init == "copy_top" and new_experts)):
        raise ConfigError(
            f"task '{spec.task}' is not routed by this model, so there is nothing to copy; name one of "
            f"{', '.join(tasks)} as `like`, or start with init and router_init 'mean' or 'random'."
        )
    copied: dict[str, list[int]] = {}
    if new_experts and init == "copy_top":
        copied = {layer: most_used(shares, new_experts, layer) for layer, shares in _shares(usage, origin).items()}
    before = {id(p) for p in model.parameters()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        added = {layer: _add_experts(bank, new_experts, init, copied.get(layer, [])) for layer, bank in banks.items()}
        model.backbone.add_task(own)  # type: ignore[operator]
        _start_router(model, own, origin, router_init, copied)
        model.add_head(head, replace(spec, route=own))
    fresh = [(name, p) for name, p in model.named_parameters() if id(p) not in before]
    if freeze:
        model.requires_grad_(False)
        for _, parameter in fresh:
            parameter.requires_grad_(True)
    sizes = {"head": 0, "router": 0, "experts": 0}
    for name, parameter in fresh:
        kind = "head" if name.startswith("heads.") else "experts" if ".parts." in name else "router"
        sizes[kind] += parameter.numel()
    return ExtendReport(head, own, origin, added, sizes, tuple(name for name, _ in fresh) if freeze else ())


def _shares(usage: ExpertStats | Mapping[str, Sequence[float]] | None, origin: str | None) -> dict[str, list[float]]:
    """Layer -> visits of the router that is copied."""
    if usage is None:
        raise ConfigError(
            "init 'copy_top' copies the experts that are visited most, but usage is missing; pass the statistics of "
            "`collect_expert_stats`, or start with init 'mean' or 'random'."
        )
    if isinstance(usage, ExpertStats):
        row = usage.task(origin or "")
        return {layer.name: layer.load[row].tolist() for layer in usage.layers}
    return {layer: list(shares) for layer, shares in usage.items()}


def _add_experts(bank: ExpertBank, count: int, init: str, copied: Sequence[int]) -> list[int]:
    """Append experts as a part of their own and give their numbers."""
    if not count:
        return []
    if init == "copy_top":
        tensors = bank.expert_tensors(copied)
    elif init == "mean":
        whole = bank.expert_tensors(range(bank.router.num_experts))
        tensors = {name: t.mean(0, keepdim=True).expand(count, *t.shape[1:]).clone() for name, t in whole.items()}
    else:
        tensors = bank.new_experts(count)
    return list(bank.part_experts(bank.append(tensors)))


@torch.no_grad()
def _start_router(
    model: Any, own: str, origin: str | None, router_init: str, copied: Mapping[str, Sequence[int]]
) -> None:
    """Fill the routers and the task embedding of a new task."""
    if router_init == "random":
        return
    others = [task for task in model.backbone.tasks if task != own]
    embedding: Any = model.backbone.task_embedding
    if embedding is not None:
        given = [origin] if router_init == "copy" else others
        embedding[own].copy_(torch.stack([embedding[task] for task in given]).mean(0))
    for layer, bank in expert_banks(model).items():
        count = bank.router.num_experts
        old = count - len(copied.get(layer, ()))
        new: TaskRouter = bank.router.tasks[own]  # type: ignore[assignment]
        if router_init == "copy":
            at = _scores_by_expert(bank, origin or "")
            rows = [*(at.get(e) for e in range(old)), *(at.get(e) for e in copied.get(layer, ()))]
            copy_router(bank.router.tasks[origin], new, rows, ROUTER_NOISE, old)  # type: ignore[index,arg-type]
            continue
        _mean_router(bank, others, new)


def _mean_router(bank: ExpertBank, tasks: Sequence[str], new: TaskRouter) -> None:
    """Each score the mean over the tasks that score its expert; experts that none scores stay fresh."""
    routers: list[tuple[Any, dict[int, int]]] = [(bank.router.tasks[t], _scores_by_expert(bank, t)) for t in tasks]
    if new.down is not None:
        for name, value in new.down.named_parameters():
            value.copy_(torch.stack([dict(r.down.named_parameters())[name] for r, _ in routers]).mean(0))
    for name in ("weight", "bias"):
        target: Tensor | None = getattr(new, name)
        if target is None:
            continue
        for half in range(len(target) // bank.router.num_experts):  # learned noise doubles the rows
            for e in range(bank.router.num_experts):
                rows = [getattr(r, name)[half * (len(getattr(r, name)) // 2) + at[e]] for r, at in routers if e in at]
                if rows:
                    target[half * bank.router.num_experts + e] = torch.stack(rows).mean(0)


def _scores_by_expert(bank: ExpertBank, task: str) -> dict[int, int]:
    """Expert -> the score of a task's router that means it."""
    index = bank.router.route(task).index
    return {e: i for i, e in enumerate(range(bank.router.scores_of(task)) if index is None else index) if e >= 0}
