"""A bank of experts as a list of parts, so that some of it can be frozen, trained, added or cut out.

A frozen expert and a trained one never share a Parameter: weight decay and momentum would move the masked slice too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .route import as_routes
from .routing import Router

__all__ = ["BankShape", "ExpertBank", "run_slots"]


@dataclass(frozen=True)
class BankShape:
    """How a bank differs from one part that all tasks see whole; plain values, as a config holds them.

    Attributes:
        parts: Experts of each part.
        order: The expert at each place of the bank, parts one after the other; None: expert e is at place e.
        routes: Task -> fields of `visgen.nn.route.Route`, for tasks that do not see the whole bank.
    """

    parts: tuple[int, ...]
    order: tuple[int, ...] | None = None
    routes: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts or min(self.parts) < 1:
            raise ConfigError(f"parts of a bank are {list(self.parts)}; name at least one, each of 1 or more experts.")
        if self.order is not None:
            object.__setattr__(self, "order", tuple(self.order))
            if sorted(self.order) != list(range(self.size)):
                raise ConfigError(f"order of a bank is {list(self.order)}; it must hold 0..{self.size - 1}, each once.")
        as_routes(self.routes)

    @property
    def size(self) -> int:
        """Experts in the bank."""
        return sum(self.parts)

    def options(self) -> dict[str, Any]:
        """Plain values for a config."""
        found: dict[str, Any] = {"parts": list(self.parts)}
        if self.order is not None:
            found["order"] = list(self.order)
        return found | ({"routes": dict(self.routes)} if self.routes else {})


class BankPart(nn.Module):
    """Some experts of a bank, as Parameters of their own."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            self.register_parameter(name, _parameter(value))


def _parameter(value: Tensor, like: Tensor | None = None) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=True if like is None else like.requires_grad)


class ExpertBank(nn.Module):
    """Base of the routed layers: named tensors whose first axis counts experts, in one or more parts.

    The first part's Parameters are attributes of the layer itself (`w1`), those of further ones `parts.0.w1` and so on,
    so that a bank of one part has the names it always had.

    Attributes:
        BANK: Names of the tensors.
        parts: The second and further parts.
        order: The expert at each place, or None when expert e is at place e.
    """

    BANK: ClassVar[tuple[str, ...]]
    router: Router
    parts: nn.ModuleList
    place: Tensor | None

    def new_experts(self, count: int) -> dict[str, Tensor]:
        """Freshly initialised tensors of `count` experts."""
        raise NotImplementedError(f"{type(self).__name__} must define new_experts(count).")

    def build_bank(self, parts: Sequence[int] | None, order: Sequence[int] | None) -> None:
        """Register the parts; called once, at the end of a constructor."""
        sizes = [self.router.num_experts] if parts is None else list(parts)
        if sum(sizes) != self.router.num_experts:
            raise ConfigError(f"the parts of a bank are {sizes} but its router counts {self.router.num_experts}.")
        for name, value in self.new_experts(sizes[0]).items():
            self.register_parameter(name, nn.Parameter(value))
        self.parts = nn.ModuleList(BankPart(self.new_experts(size)) for size in sizes[1:])
        self.register_buffer("place", None, persistent=False)
        self._set_order(order)

    @property
    def num_parts(self) -> int:
        return 1 + len(self.parts)

    @property
    def part_sizes(self) -> tuple[int, ...]:
        """Experts of each part."""
        return tuple(len(self.part(i)[self.BANK[0]]) for i in range(self.num_parts))

    def part(self, index: int) -> dict[str, nn.Parameter]:
        """The Parameters of part `index` by name."""
        owner = self if index == 0 else self.parts[index - 1]
        return {name: getattr(owner, name) for name in self.BANK}

    def part_experts(self, index: int) -> tuple[int, ...]:
        """The experts that part `index` holds, in the order of its rows."""
        sizes = self.part_sizes
        start = sum(sizes[:index])
        places = range(start, start + sizes[index])
        return tuple(places) if self.order is None else tuple(self.order[p] for p in places)

    def shape(self) -> BankShape:
        """The layer's parts and routes, as a config holds them."""
        routes = {name: self.router.route(name).options() for name in self.router.views}
        return BankShape(self.part_sizes, self.order, routes or None)

    def bank_tensors(self, visible: int | None = None) -> list[Tensor]:
        """The tensors of the places as far as the last of the first `visible` experts, in the order of `BANK`.

        None takes all. Others may stand between those where a part was split that holds more than a task sees.
        """
        wanted = self.router.num_experts if visible is None else visible
        if self.order is not None:
            wanted = 1 + max(place for place, expert in enumerate(self.order) if expert < wanted)
        tensors = []
        for name in self.BANK:
            pieces: list[Tensor] = [getattr(self, name)]
            for part in self.parts:
                if sum(map(len, pieces)) < wanted:
                    pieces.append(getattr(part, name))
            whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            tensors.append(whole if len(whole) == wanted else whole[:wanted])
        return tensors

    def frozen_places(self) -> tuple[int, ...]:
        """Places of the experts that do not train while others do, so that no gradient of theirs need be computed."""
        if not len(self.parts) or not torch.is_grad_enabled():
            return ()
        trains = [any(p.requires_grad for p in self.part(i).values()) for i in range(self.num_parts)]
        by_place = [one for one, size in zip(trains, self.part_sizes, strict=True) for _ in range(size)]
        return tuple(i for i, one in enumerate(by_place) if not one)

    def expert_tensors(self, experts: Sequence[int]) -> dict[str, Tensor]:
        """Copies of the tensors of some experts, in the order given."""
        places = torch.tensor(list(experts), dtype=torch.int64, device=getattr(self, self.BANK[0]).device)
        if self.place is not None:
            places = self.place[places]
        with torch.no_grad():
            return {name: t[places].clone() for name, t in zip(self.BANK, self.bank_tensors(), strict=True)}

    def places(self, experts: Tensor) -> Tensor:
        """Where experts stand among the rows of `bank_tensors`."""
        return experts if self.place is None else self.place[experts]

    def split(self, experts: Sequence[int]) -> list[int]:
        """Give these experts Parameters apart from those of the others; outputs stay what they are.

        To the last bit where each expert's matrices start at a multiple of 64 bytes, as in all named sizes.

        Args:
            experts: Expert numbers; they keep them.
        Returns:
            The parts that now hold them and nothing else, ready to be trained or frozen by themselves.
        Raises:
            ConfigError: No expert, or one that the bank lacks.
        """
        chosen = set(experts)
        wrong = sorted(e for e in chosen if not 0 <= e < self.router.num_experts)
        if wrong or not chosen:
            raise ConfigError(
                f"experts {wrong or []} cannot be split off a bank of {self.router.num_experts}; name one or more of "
                f"0..{self.router.num_experts - 1}."
            )
        parts: list[tuple[list[int], dict[str, nn.Parameter]]] = []
        found = []
        for i in range(self.num_parts):
            held, tensors = self.part_experts(i), self.part(i)
            groups = [[r for r, e in enumerate(held) if (e in chosen) == want] for want in (False, True)]
            for want, rows in zip((False, True), groups, strict=True):
                if not rows:
                    continue
                if want:
                    found.append(len(parts))
                whole = len(rows) == len(held)
                kept = tensors if whole else {k: _parameter(v.detach()[rows].clone(), v) for k, v in tensors.items()}
                parts.append(([held[r] for r in rows], kept))
        self._replace([tensors for _, tensors in parts], [e for held, _ in parts for e in held])
        return found

    def append(self, tensors: Mapping[str, Tensor]) -> int:
        """Add experts as a part of their own and give its number; no task sees them until its route does."""
        parts = [self.part(i) for i in range(self.num_parts)]
        like = parts[0][self.BANK[0]]
        count = self.router.num_experts
        added = {name: _parameter(tensors[name].detach().to(like.device, like.dtype).clone()) for name in self.BANK}
        order = [e for i in range(len(parts)) for e in self.part_experts(i)]
        new = len(added[self.BANK[0]])
        self._replace([*parts, added], [*order, *range(count, count + new)])
        self.router.resize(count + new)
        return len(parts)

    def drop_last(self, count: int) -> None:
        """Take the last `count` experts, a whole part, away again.

        Raises:
            ConfigError: They are no part of their own, or a task sees them.
        """
        parts = [self.part(i) for i in range(self.num_parts)]
        if len(parts) < 2 or self.part_sizes[-1] != count:
            raise ConfigError(f"the last {count} experts are no part of their own; parts are {list(self.part_sizes)}.")
        order = [e for i in range(len(parts) - 1) for e in self.part_experts(i)]
        self.router.resize(self.router.num_experts - count)
        self._replace(parts[:-1], order)

    def join(self) -> None:
        """Make one part of all, experts in their order; outputs stay what they are. A mixed bank becomes trainable."""
        if self.num_parts == 1 and self.order is None:
            return
        tensors = self.expert_tensors(range(self.router.num_experts))
        is_frozen = not any(p.requires_grad for i in range(self.num_parts) for p in self.part(i).values())
        self._replace([{k: nn.Parameter(v, requires_grad=not is_frozen) for k, v in tensors.items()}], None)

    def _replace(self, parts: Sequence[Mapping[str, nn.Parameter]], order: Sequence[int] | None) -> None:
        for name, value in parts[0].items():
            setattr(self, name, value)
        self.parts = nn.ModuleList()
        for tensors in parts[1:]:
            part = BankPart({})
            for name, value in tensors.items():
                part.register_parameter(name, value)
            self.parts.append(part)
        self._set_order(order)

    def _set_order(self, order: Sequence[int] | None) -> None:
        is_plain = order is None or list(order) == list(range(len(order)))
        self.order: tuple[int, ...] | None = None if is_plain or order is None else tuple(order)
        device = getattr(self, self.BANK[0]).device
        self.place = None if self.order is None else torch.tensor(self.order, device=device).argsort()


def run_slots(
    run: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, weights: Tensor, experts: Tensor, kept: Tensor | None
) -> Tensor:
    """Send rows (S, D) to the experts of those slots that are kept: rows with the same number of them together.

    Args:
        run: Gives (S, D) for rows (S, D), gates (S, m) and experts (S, m).
        x, weights, experts: Rows (S, D), gates and experts (S, k).
        kept: (S, k) bool with one or more true in each row, or None for all.
    """
    if kept is None:
        return run(x, weights, experts)
    count = kept.sum(1)
    front = kept.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    weights, experts = weights.gather(1, front), experts.gather(1, front)
    groups = [(m, (count == m).nonzero().flatten()) for m in range(1, kept.shape[1] + 1)]
    groups = [(m, rows) for m, rows in groups if len(rows)]
    if len(groups) == 1:
        m = groups[0][0]
        return run(x, weights[:, :m], experts[:, :m])
    if not groups:
        return run(x, weights, experts)
    order = torch.cat([rows for _, rows in groups])
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    parts = [run(x[rows], weights[rows, :m], experts[rows, :m]) for m, rows in groups]
    return torch.cat(parts).index_select(0, place)
