"""Strict building of option dataclasses from plain mappings, for configs, heads and losses alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from .errors import ConfigError, nearest

__all__ = ["build_options"]

T = TypeVar("T")


def build_options(cls: type[T], options: Mapping[str, Any] | None, where: str) -> T:
    """Build the dataclass `cls` from a mapping; lists become tuples where the default is a tuple.

    Args:
        cls: A dataclass.
        options: Field values by name; null means none.
        where: What is being configured, for the error message.
    Raises:
        ConfigError: An unknown key (the nearest field is suggested), or a value that the dataclass refuses.
    """
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    given = dict(options or {})
    for key in given:
        if key not in known:
            raise ConfigError(f"{where} has no option '{key}'{nearest(key, known)} Options: {', '.join(known)}.")
    for f in fields(cls):  # type: ignore[arg-type]
        if isinstance(given.get(f.name), list):
            given[f.name] = tuple(given[f.name])
    try:
        return cls(**given)
    except TypeError as error:
        raise ConfigError(f"{where} cannot be built: {error}.") from error
