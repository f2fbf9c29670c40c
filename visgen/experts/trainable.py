"""Choose what of a model trains: the head, its routers, some experts, everything, or low-rank updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import ConfigError
from .lora import add_low_rank, rank_for
from .selection import Selection, parse_selection
from .usage import most_used

__all__ = ["Trainable", "choose_experts", "set_trainable", "trained_parameters"]

Usage = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Trainable:
    """What of a model trains.

    Args:
        selection: As parsed; a low-rank selection has its rank filled in.
        head: Name of the head.
        route: Router that the head's features pass through.
        names: Part ("head", "router", "experts", "low rank", "rest") to the names of its parameters that train.
        parameters: Part to the number of their values.
        experts: Routed layer to the experts that train in it.
        total: Values in all parameters of the model.
    """

    selection: Selection
    head: str
    route: str
    names: Mapping[str, tuple[str, ...]]
    parameters: Mapping[str, int]
    experts: Mapping[str, tuple[int, ...]]
    total: int

    @property
    def trained(self) -> int:
        """Values that train."""
        return sum(self.parameters.values())

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of all parameters that train."""
        return tuple(name for names in self.names.values() for name in names)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "experts": str(self.selection),
            "head": self.head,
            "route": self.route,
            "trained": self.trained,
            "total": self.total,
            "parameters": dict(self.parameters),
            "names": {part: list(names) for part, names in self.names.items()},
            "chosen": {layer: list(experts) for layer, experts in self.experts.items()},
        }


def set_trainable(
    model: Any, head: str, selection: Selection | str, usage: Usage | None = None, match: Selection | str = "top:4"
) -> Trainable:
    """Let a part of a model train and freeze all else, in place.

    Where some experts of a bank train and others do not, the bank is split, so that a frozen expert shares no Parameter
    with a trained one: neither weight decay nor momentum can reach it. Outputs stay what they were.

    Args:
        model: A MultiTaskModel.
        head: The head that is trained; a task means its default head.
        selection: See `visgen.experts.parse_selection`. "new:N" takes the last N experts, which must have been added
            as a part of their own (`visgen.experts.add_experts`).
        usage: Routed layer to the share of tokens that visit each expert, from `measure_usage`; for top and bottom.
        match: "lora" without a rank takes the largest one that trains no more than this.
    Raises:
        ConfigError: The selection is empty or out of range, usage is missing, or the backbone routes nothing.
    """
    chosen = parse_selection(selection) if isinstance(selection, str) else selection
    name = model.resolve(head)
    experts = choose_experts(model, chosen, usage)
    if chosen.kind == "lora" and not chosen.count:
        matched = parse_selection(match) if isinstance(match, str) else match
        head_size = sum(p.numel() for p in model.head(name).parameters())
        chosen = Selection("lora", rank_for(model, trained_parameters(model, name, matched) - head_size))
    model.requires_grad_(chosen.kind == "full")
    for parameter in _of_others(model, name):
        parameter.requires_grad_(False)
    groups: dict[str, list[nn.Parameter]] = {"head": list(model.head(name).parameters())}
    if chosen.trains_routers and _banks(model):
        groups["router"] = _router_parameters(model, model.route(name))
    if experts:
        groups["experts"] = [
            parameter
            for layer, numbers in experts.items()
            for part in _banks(model)[layer].split(numbers)
            for parameter in _banks(model)[layer].part(part).values()
        ]
    if chosen.kind == "lora":
        layers = add_low_rank(model, chosen.count)
        updated = dict(model.named_parameters())
        groups["low rank"] = [updated[f"{layer}.{side}"] for layer in layers for side in ("down", "up")]
    for parameters in groups.values():
        for parameter in parameters:
            parameter.requires_grad_(True)
    return _describe(model, name, chosen, groups, experts)


def choose_experts(model: Any, selection: Selection, usage: Usage | None = None) -> dict[str, tuple[int, ...]]:
    """Give the experts of each routed layer that a selection trains by themselves; none for head, router and full.

    Raises:
        ConfigError: As in `set_trainable`.
    """
    banks = _banks(model)
    if not banks and selection.kind not in ("head", "full", "lora"):
        raise ConfigError(
            f"experts '{selection}' needs a mixture of experts, but the backbone {type(model.backbone).__name__} "
            "routes nothing; choose head, full or lora."
        )
    found: dict[str, tuple[int, ...]] = {}
    for layer, bank in banks.items():
        count = bank.router.num_experts
        if selection.kind in ("top", "bottom"):
            if usage is None:
                raise ConfigError(f"experts '{selection}' goes by usage, which is missing; see measure_usage.")
            least = selection.kind == "bottom"
            found[layer] = tuple(most_used(list(usage[layer]), selection.count, layer, least=least))
        elif selection.kind == "only":
            wrong = [e for e in selection.experts if e >= count]
            if wrong:
                raise ConfigError(f"expert {wrong[0]} is to train but layer {layer} has {count}; use 0..{count - 1}.")
            found[layer] = selection.experts
        elif selection.kind == "new":
            held = bank.part_experts(bank.num_parts - 1)
            if bank.num_parts < 2 or len(held) != selection.count:
                raise ConfigError(
                    f"experts '{selection}' trains added experts, but the last part of layer {layer} holds "
                    f"{len(held)} of its {count} experts; add them first (visgen.experts.add_experts)."
                )
            found[layer] = tuple(sorted(held))
    return found


def trained_parameters(model: Any, head: str, selection: Selection | str) -> int:
    """Number of values that a selection would train, without changing the model; a low-rank one needs its rank."""
    chosen = parse_selection(selection) if isinstance(selection, str) else selection
    if chosen.kind == "full":
        others = sum(p.numel() for p in _of_others(model, head))
        return sum(p.numel() for p in model.parameters()) - others
    if chosen.kind == "lora":
        raise ConfigError(f"match is '{chosen}'; a low-rank update is matched to a selection of experts.")
    total = sum(p.numel() for p in model.head(head).parameters())
    if chosen.trains_routers:
        total += sum(p.numel() for p in _router_parameters(model, model.route(head)))
    for layer, bank in _banks(model).items():
        count = len(chosen.experts) if chosen.kind == "only" else chosen.count
        if count > bank.router.num_experts and chosen.kind != "new":
            raise ConfigError(
                f"experts '{chosen}' takes {count} but layer {layer} has {bank.router.num_experts}; use fewer."
            )
        size = sum(tensor[0].numel() for tensor in bank.part(0).values())
        total += count * size
    return total


def _banks(model: Any) -> dict[str, Any]:
    return getattr(model.backbone, "banks", {})


def _router_parameters(model: Any, route: str) -> list[nn.Parameter]:
    """The routers of a task in every layer, and its task embedding."""
    found = [p for bank in _banks(model).values() for p in bank.router.tasks[route].parameters()]
    embedding = getattr(model.backbone, "task_embedding", None)
    return [*found, embedding[route]] if embedding is not None else found


def _of_others(model: Any, head: str) -> list[nn.Parameter]:
    """What the head does not read: other heads but the one below it, and other tasks' routers and embeddings."""
    route, read = model.route(head), (head, model.below(head))
    found = [p for name in model.specs if name not in read for p in model.head(name).parameters()]
    for bank in _banks(model).values():
        found += [p for task, router in bank.router.tasks.items() if task != route for p in router.parameters()]
    embedding = getattr(model.backbone, "task_embedding", None)
    return found + [p for task, p in (embedding.items() if embedding is not None else ()) if task != route]


def _describe(
    model: Any,
    head: str,
    selection: Selection,
    groups: Mapping[str, Sequence[nn.Parameter]],
    experts: Mapping[str, tuple[int, ...]],
) -> Trainable:
    part_of = {id(p): part for part, parameters in groups.items() for p in parameters}
    names: dict[str, list[str]] = {part: [] for part in groups}
    sizes: dict[str, int] = dict.fromkeys(groups, 0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = part_of.get(id(parameter), "rest")
            names.setdefault(part, []).append(name)
            sizes[part] = sizes.get(part, 0) + parameter.numel()
    total = sum(p.numel() for p in model.parameters())
    tidy = {part: tuple(found) for part, found in names.items()}
    return Trainable(selection, head, model.route(head), tidy, sizes, dict(experts), total)
