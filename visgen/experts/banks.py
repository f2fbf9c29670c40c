"""The banks of a model by layer: find them, split them into frozen and trained parts, and join them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..errors import ConfigError, UnknownName, nearest
from ..nn.bank import ExpertBank

__all__ = ["expert_banks", "find_route", "join_experts", "split_experts"]


def expert_banks(model: Any) -> dict[str, ExpertBank]:
    """The routed layers of a model by name ("blocks.2.mlp"), in the order of the routing statistics.

    Args:
        model: A `MultiTaskModel`, or a backbone.
    Raises:
        ConfigError: It has no routed layers.
    """
    banks: dict[str, ExpertBank] = getattr(getattr(model, "backbone", model), "banks", {})
    if not banks:
        raise ConfigError("this model's backbone routes nothing, so it has no experts; use a vit_moe backbone.")
    return banks


def find_route(model: Any, name: str) -> str:
    """The router that a router name, head or task of a model means.

    A head may share the router of another task: the name of a router that no head takes means what the head or task
    of that name takes.

    Raises:
        UnknownName: Nothing of the model is called so.
    """
    routed: Sequence[str] = model.backbone.tasks
    if name in routed and name in map(model.route, model.specs):
        return name
    if name in model.specs or name in model.default_heads:
        return str(model.route(model.resolve(name)))
    if name in routed:
        return name
    known = [*routed, *model.specs]
    raise UnknownName(f"'{name}' is no task or head of this model{nearest(name, known)} It has {', '.join(known)}.")


def split_experts(model: Any, chosen: Mapping[str, Sequence[int]]) -> dict[str, list[nn.Parameter]]:
    """Give some experts Parameters of their own, so that they train while the others stay; outputs do not change.

    Optimizers made before hold Parameters that are no longer in the model: make them after.

    Args:
        model: Changed in place.
        chosen: Layer -> expert numbers, which stay valid; layers may be left out.
    Returns:
        Layer -> the Parameters that now hold these experts and nothing else.
    Raises:
        UnknownName: A layer that is not routed.
        ConfigError: An expert outside its bank, or none at all for a layer.
    """
    banks = expert_banks(model)
    for layer in chosen:
        if layer not in banks:
            raise UnknownName(f"layer '{layer}' is not routed{nearest(layer, banks)} Routed: {', '.join(banks)}.")
    found = {}
    for layer, experts in chosen.items():
        parts = banks[layer].split(experts)
        found[layer] = [p for i in parts for p in banks[layer].part(i).values()]
    _note(model)
    return found


def join_experts(model: Any) -> None:
    """Make every bank one part again, as it is fastest to run; outputs do not change and all of it becomes trainable.

    A bank none of whose parts is trainable stays frozen.
    """
    for bank in expert_banks(model).values():
        bank.join()
    _note(model)


def _note(model: Any) -> None:
    getattr(model, "backbone", model).changes()
