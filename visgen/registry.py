"""One registry class: names in configs and on the command line to classes and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from .errors import ConfigError, UnknownName, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Named members that all keep one contract.

    Args:
        kind: What a member is, as error messages call it ("backbone", "task").
        contract: One sentence that every member must satisfy.
    """

    def __init__(self, kind: str, contract: str) -> None:
        self.kind = kind
        self.contract = contract
        self._members: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a class or function to make it the member `name`; a duplicate name is a ConfigError."""

        def add(member: T) -> T:
            if name in self._members:
                raise ConfigError(f"{self.kind} '{name}' is already registered; choose another name.")
            self._members[name] = member
            return member

        return add

    def get(self, name: str) -> T:
        """Give the member called `name`; raises UnknownName with the nearest known name."""
        if name not in self._members:
            known = ", ".join(self.names())
            raise UnknownName(f"{self.kind} '{name}' is not registered{nearest(name, self._members)} Known: {known}.")
        return self._members[name]

    def build(self, name: str, /, **options: Any) -> Any:
        """Call the member `name` with keyword options."""
        return self.get(name)(**options)  # type: ignore[operator]

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._members))

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
