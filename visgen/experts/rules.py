"""Which experts to keep: those a task visits, or as many chosen at random or by the size of their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..errors import ConfigError, nearest
from .banks import expert_banks
from .stats import ExpertStats

__all__ = [
    "RULES",
    "magnitude_experts",
    "most_visited",
    "random_experts",
    "rival_experts",
    "select_experts",
    "visited_experts",
]

RULES = ("load", "random", "magnitude")


def visited_experts(
    stats: ExpertStats, routes: Sequence[str], theta: float = 0.03, least: Mapping[str, int] | int = 1
) -> dict[str, list[int]]:
    """Keep the experts that more than a share `theta` of a task's tokens visit; for several tasks, the union.

    Args:
        stats: Measured on data of these tasks.
        routes: Router names.
        theta: In [0, 1); 0 keeps every expert that was ever visited.
        least: Keep at least so many for each task, the most visited ones; by layer or for all.
    Source: the rule of the Mod-Squad code, whose default is 3 % of the tokens.
    """
    if not 0 <= theta < 1:
        raise ConfigError(f"theta is {theta}; it is a share of a task's tokens, so use 0 <= theta < 1.")
    kept: dict[str, list[int]] = {}
    for layer in stats.layers:
        chosen: set[int] = set()
        fewest = least if isinstance(least, int) else least[layer.name]
        for route in routes:
            load = layer.load[stats.task(route)]
            above = torch.nonzero(load > theta).flatten().tolist()
            chosen |= set(above) if len(above) >= fewest else set(_top(load, fewest))
        kept[layer.name] = sorted(chosen)
    return kept


def most_visited(stats: ExpertStats, routes: Sequence[str], count: int) -> dict[str, list[int]]:
    """Keep the `count` experts of each layer that the tasks visit most, shares of tasks added up."""
    rows = [stats.task(route) for route in routes]
    return {layer.name: sorted(_top(layer.load[rows].sum(0), count)) for layer in stats.layers}


def random_experts(model: Any, sizes: Mapping[str, int], seed: int) -> dict[str, list[int]]:
    """Keep so many experts of each layer, drawn without regard to anything; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: sorted(torch.randperm(bank.router.num_experts, generator=generator)[: sizes[name]].tolist())
        for name, bank in expert_banks(model).items()
    }


def magnitude_experts(model: Any, sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """Keep so many experts of each layer, those whose weights have the largest Euclidean norm."""
    kept = {}
    for name, bank in expert_banks(model).items():
        tensors = bank.expert_tensors(range(bank.router.num_experts)).values()
        norms = torch.stack([t.double().flatten(1).square().sum(1) for t in tensors]).sum(0)
        kept[name] = sorted(_top(norms, sizes[name]))
    return kept


def select_experts(
    model: Any,
    stats: ExpertStats,
    routes: Sequence[str],
    *,
    theta: float = 0.03,
    keep: int | None = None,
    least: Mapping[str, int] | int = 1,
) -> dict[str, list[int]]:
    """Give the experts of each layer to keep by the visits that tasks pay them.

    Args:
        model: Whose experts.
        stats: Of this model, on data of the tasks.
        routes: Router names.
        theta, least: As in `visited_experts`.
        keep: Keep this many per layer instead, the most visited ones.
    Raises:
        ConfigError: Statistics of another model, or a number outside the bank.
    """
    banks = {name: bank.router.num_experts for name, bank in expert_banks(model).items()}
    if {layer.name: layer.num_experts for layer in stats.layers} != banks:
        raise ConfigError(
            f"the statistics are of layers {', '.join(f'{x.name} ({x.num_experts})' for x in stats.layers)} but the "
            f"model has {', '.join(f'{name} ({size})' for name, size in banks.items())}; measure this model."
        )
    if keep is None:
        return visited_experts(stats, routes, theta, least)
    if not 1 <= keep <= min(banks.values()):
        raise ConfigError(f"keep is {keep} but the smallest bank has {min(banks.values())}; use 1 up to that.")
    return most_visited(stats, routes, keep)


def rival_experts(model: Any, chosen: Mapping[str, Sequence[int]], rule: str, seed: int = 0) -> dict[str, list[int]]:
    """Give a selection of the same size by another rule.

    Args:
        model: Whose experts.
        chosen: What "load" keeps.
        rule: "load" (that itself), "random" or "magnitude".
        seed: For "random".
    Raises:
        ConfigError: Another rule.
    """
    sizes = {name: len(experts) for name, experts in chosen.items()}
    if rule == "random":
        return random_experts(model, sizes, seed)
    if rule == "magnitude":
        return magnitude_experts(model, sizes)
    if rule != "load":
        raise ConfigError(f"rule '{rule}' is unknown{nearest(rule, RULES, ';')} use {', '.join(RULES)}.")
    return {name: list(experts) for name, experts in chosen.items()}


def _top(values: torch.Tensor, count: int) -> list[int]:
    """The `count` largest, the lower index first among equals."""
    return torch.sort(values, descending=True, stable=True).indices[:count].tolist()
