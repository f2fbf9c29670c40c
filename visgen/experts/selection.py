"""What to train, as a user writes it: "head", "router", "top:4", "bottom:4", "new:2", "1,3", "full", "lora:8"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ConfigError, nearest

__all__ = ["Selection", "parse_selection"]

KINDS = ("head", "router", "top", "bottom", "new", "only", "full", "lora")
_COUNTED = ("top", "bottom", "new")


@dataclass(frozen=True)
class Selection:
    """What trains beside the new head.

    Args:
        kind: "head" nothing; "router" the task's routers; "top" and "bottom" also the most or least used experts of
            each routed layer; "new" also experts that are added; "only" also the named experts; "full" everything
            that the head reads; "lora" low-rank updates of dense layers.
        count: Experts of each routed layer for top, bottom and new; the rank for lora, 0 where it is to be matched.
        experts: Expert numbers for "only", sorted.
    """

    kind: str
    count: int = 0
    experts: tuple[int, ...] = ()

    @property
    def trains_routers(self) -> bool:
        """Whether the task's routers train."""
        return self.kind not in ("head", "lora")

    @property
    def splits_bank(self) -> bool:
        """Whether some experts that the model has train and others do not."""
        return self.kind in ("top", "bottom", "only")

    def __str__(self) -> str:
        if self.kind == "only":
            return ",".join(map(str, self.experts))
        return f"{self.kind}:{self.count}" if self.count else self.kind


def parse_selection(text: str) -> Selection:
    """Read a selection; see the module.

    Raises:
        ConfigError: An unknown kind, a count that is missing, not a number or below 1, or an empty selection.
    """
    words = str(text).strip()
    if not words:
        raise ConfigError(f"the selection of experts is empty; use one of {_forms()}.")
    if re.fullmatch(r"[0-9]+(\s*,+\s*[0-9]+)*[\s,]*", words):
        return Selection("only", experts=tuple(sorted({int(word) for word in words.split(",") if word.strip()})))
    kind, colon, number = words.partition(":")
    if kind not in KINDS or kind == "only":
        raise ConfigError(f"experts '{words}' is not known{nearest(kind, KINDS, ';')} use one of {_forms()}.")
    if kind not in (*_COUNTED, "lora"):
        if colon:
            raise ConfigError(f"experts '{words}' has a number, but '{kind}' takes none; write {kind}.")
        return Selection(kind)
    if kind == "lora" and not colon:
        return Selection(kind)
    if not re.fullmatch("[0-9]+", number):
        raise ConfigError(f"experts '{words}' has no whole number after the colon; write {kind}:4.")
    if int(number) < 1:
        what = "a rank of 0" if kind == "lora" else "no expert at all"
        raise ConfigError(f"experts '{words}' selects {what}; use {kind}:1 or more, or head to train the head alone.")
    return Selection(kind, int(number))


def _forms() -> str:
    return "head, router, top:N, bottom:N, new:N, 1,3 (expert numbers), full, lora, lora:RANK"
