"""What one task sees of a bank of experts: how many it scores, which of them are open to it, and how many it visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..options import build_options

__all__ = ["GONE", "Route", "RouteView", "as_routes"]

GONE = -1  # in `Route.index`: the expert of this score is not in the bank any more


@dataclass(frozen=True)
class Route:
    """How one task uses a bank, where that differs from scoring all of it and visiting the layer's k.

    Attributes:
        width: Experts that the task's router scores, always the first ones of the bank unless `index` says otherwise;
            None for the whole bank. A task that was there before experts were added keeps its old width.
        index: Bank expert behind each score, -1 where it was cut out; several scores may share one. None: score e means
            expert e.
        top_k: Experts per token; None takes the layer's.
        tau: Visit only as many of them as it takes for their router probabilities to sum to at least this; None or 1
            visits all k.
        deny: Scores that are never picked. With gate_norm "none" the gates of the others stay what they were.
    Source: Huang et al. 2024, arXiv:2403.07652, for a threshold on the cumulative probability; here k is its bound.
    """

    width: int | None = None
    index: tuple[int, ...] | None = None
    top_k: int | None = None
    tau: float | None = None
    deny: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.index is not None:
            object.__setattr__(self, "index", tuple(self.index))
        object.__setattr__(self, "deny", tuple(sorted(set(self.deny))))
        if self.tau is not None and not 0 < self.tau <= 1:
            raise ConfigError(f"tau is {self.tau}; it is a share of router probability, so use 0 < tau <= 1.")
        if self.tau == 1:
            object.__setattr__(self, "tau", None)

    def scores(self, bank: int) -> int:
        """Number of experts that the router scores, given the size of the bank."""
        if self.index is not None:
            return len(self.index)
        return bank if self.width is None else self.width

    def options(self) -> dict[str, Any]:
        """The fields that say something, as plain values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if value is not None and value != ()
        }

    def check(self, bank: int, layer_k: int) -> None:
        """Raise ConfigError where this does not fit a bank of `bank` experts whose layer visits `layer_k`."""
        count = self.scores(bank)
        if self.index is not None and self.width not in (None, count):
            raise ConfigError(f"a route has width {self.width} but an index of {count} entries; give one of them.")
        if self.index is None and not 1 <= count <= bank:
            raise ConfigError(f"a route scores {count} experts but the bank has {bank}; use 1..{bank}.")
        outside = [e for e in self.index or () if not GONE <= e < bank]
        if outside:
            raise ConfigError(f"a route points to expert {outside[0]} but the bank has {bank}; use -1..{bank - 1}.")
        wrong = [e for e in self.deny if not 0 <= e < count]
        if wrong:
            raise ConfigError(f"expert {wrong[0]} is denied but the router scores {count}; use 0..{count - 1}.")
        k = layer_k if self.top_k is None else self.top_k
        left = len(self.open(bank))
        if not 1 <= k <= left:
            raise ConfigError(
                f"k is {k} but {left} of {count} experts are open to the task; open more, or use top_k 1..{left}."
            )

    def open(self, bank: int) -> tuple[int, ...]:
        """The scores that may be picked."""
        closed = set(self.deny) | {i for i, e in enumerate(self.index or ()) if e == GONE}
        return tuple(i for i in range(self.scores(bank)) if i not in closed)

    def experts(self, bank: int) -> tuple[int, ...]:
        """The bank expert behind each open score."""
        return tuple(i if self.index is None else self.index[i] for i in self.open(bank))


class RouteView(nn.Module):
    """A route as tensors for one bank; they move with the model and are not saved, because the options tell them.

    Attributes:
        route: Where it comes from.
        visible: The bank's first experts that the task's arithmetic reads.
        closed: Scores not to pick (scores,) bool, or None.
        open: The others, int64.
        open_experts: Bank experts behind them, int64.
        index: Bank expert of each score (scores,), or None for the identity.
        has_twins: Several open scores mean one expert.
    """

    closed: Tensor | None
    open: Tensor
    open_experts: Tensor
    index: Tensor | None

    def __init__(self, route: Route, bank: int) -> None:
        super().__init__()
        self.route, self.bank = route, bank
        scores, opened, experts = route.scores(bank), route.open(bank), route.experts(bank)
        self.visible = scores if route.index is None else max(experts) + 1
        self.has_twins = len(set(experts)) < len(experts)
        closed = torch.ones(scores, dtype=torch.bool)
        closed[list(opened)] = False
        index = None if route.index is None else torch.tensor(route.index).clamp_min(0)
        self.register_buffer("closed", closed if len(opened) < scores else None, persistent=False)
        self.register_buffer("open", torch.tensor(opened, dtype=torch.int64), persistent=False)
        self.register_buffer("open_experts", torch.tensor(experts, dtype=torch.int64), persistent=False)
        self.register_buffer("index", index, persistent=False)


def as_routes(routes: Mapping[str, Any] | None) -> dict[str, Route]:
    """Read routes by task from plain options."""
    return {
        task: value if isinstance(value, Route) else build_options(Route, value, f"route of task '{task}'")
        for task, value in (routes or {}).items()
    }
