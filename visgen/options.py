"""Plain data to typed options, strictly: an unknown key or a value of another kind is an error with a way out."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from .errors import ConfigError, nearest

__all__ = ["build_options", "call_with", "convert", "from_mapping", "join_path", "show_value"]

T = TypeVar("T")


def build_options(cls: type[T], options: Mapping[str, Any] | None, where: str) -> T:
    """Build the dataclass `cls` from a mapping; lists become tuples where the field is one.

    Args:
        cls: A dataclass.
        options: Field values by name; null means none.
        where: What is being configured, for the error message.
    Raises:
        ConfigError: An unknown key (the nearest field is suggested), or a value of another kind than the field's or
            one that the dataclass refuses.
    """
    known = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    given = _fit(dict(options or {}), tuple(known), _hints(cls), where)  # type: ignore[arg-type]
    try:
        return cls(**given)
    except TypeError as error:
        raise ConfigError(f"{where} cannot be built: {error}.") from error


def call_with(member: Callable[..., T], options: Mapping[str, Any], where: str, *args: Any, **settled: Any) -> T:
    """Call what configs name with the options they give it, checked against its signature first.

    Args:
        member: A class or function.
        options: Keyword options as plain data.
        where: What is being configured, for the error message.
        args, settled: What the caller passes beside; no option may repeat `settled`.
    Raises:
        ConfigError: An option that it does not take (the nearest is suggested) or lacks, one that is settled already,
            or a value of another kind than it says.
    """
    parameters = list(inspect.signature(member).parameters.values())[len(args) :]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    for key in settled:
        if key in options:
            raise ConfigError(f"{where} was given '{key}', which the run settles itself; leave it out.")
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = tuple(p.name for p in named if p.name not in settled)
    hints = _hints(member.__init__ if inspect.isclass(member) else member)
    given = _fit(dict(options), (*known, *options) if takes_any else known, hints, where)
    missing = [p.name for p in named if p.default is p.empty and p.name not in (*settled, *given)]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; give it a value.")
    return member(*args, **settled, **given)


def _fit(given: dict[str, Any], known: tuple[str, ...], hints: Mapping[str, Any], where: str) -> dict[str, Any]:
    for key in given:
        if key not in known:
            options = f"Options: {', '.join(known)}." if known else "It has none."
            raise ConfigError(f"{where} has no option '{key}'{nearest(str(key), known)} {options}")
    return {key: convert(hints.get(key, Any), value, f"{where}: {key}") for key, value in given.items()}


@functools.cache
def _hints(member: Callable[..., Any]) -> Mapping[str, Any]:
    """Kinds of the fields or arguments; none where some are only known to a type checker."""
    try:
        return typing.get_type_hints(member)
    except NameError:
        return {}


def from_mapping(cls: type[T], data: Mapping[str, Any], where: str = "") -> T:
    """Fill the dataclass `cls` from plain data; `where` is the dotted path that errors start with.

    Raises:
        ConfigError: Unknown key, missing key, or wrong type.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where or 'the file'} is {show_value(data)}; it must be a mapping of {_keys(cls)}.")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    filled = {}
    for key, value in data.items():
        if key not in fields:
            raise ConfigError(
                f"unknown key '{join_path(where, key)}'{nearest(str(key), fields)} "
                f"Allowed in {where or 'the file'}: {_keys(cls)}."
            )
        filled[key] = convert(hints[key], value, join_path(where, key))
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in filled:
            raise ConfigError(f"'{join_path(where, name)}' is missing; it has no default, add it.")
    return cls(**filled)


def convert(hint: Any, value: Any, where: str) -> Any:
    """Give plain data as the kind that a type hint names: lists as tuples, whole numbers as floats, mappings as data
    classes. Kinds that no plain data could be, such as functions, let any value through.

    Raises:
        ConfigError: The value is of another kind; it starts with `where`.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(inner, value, where)
    if origin is Literal:
        if value not in inner:
            raise ConfigError(
                f"{where} is {value!r}{nearest(str(value), inner)} It must be one of {', '.join(map(repr, inner))}."
            )
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_mapping(hint, value, where)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {show_value(value)}; it must be a mapping.")
        kept = {k: v for k, v in value.items() if v is not None or not _is_plain(inner[1])}
        return {str(k) if inner[0] is str else k: convert(inner[1], v, join_path(where, k)) for k, v in kept.items()}
    if origin is Sequence:
        if value is None or isinstance(value, (int, float)):
            raise ConfigError(f"{where} is {show_value(value)}; it must be a list.")
        if inner[0] in (int, float) and isinstance(value, (list, tuple)):
            for i, one in enumerate(value):
                convert(inner[0], one, join_path(where, i))
        return value  # as it came; what takes names takes a plain one too, and checks them
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} is {show_value(value)}; it must be a list.")
        fixed = origin is tuple and inner[-1] is not Ellipsis
        if fixed and len(value) != len(inner):
            raise ConfigError(f"{where} has {len(value)} values; it must have {len(inner)}.")
        hints = inner if fixed else (inner[0],) * len(value)
        return origin(convert(h, v, join_path(where, i)) for i, (h, v) in enumerate(zip(hints, value, strict=True)))
    if hint in (bool, int, float, str, dict, list, tuple):
        return _convert_plain(hint, value, where)
    return value


def _convert_union(inner: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in inner:
        return None
    options = [h for h in inner if h is not type(None)]
    if len(options) == 1:
        return convert(options[0], value, where)
    for option in options:
        try:
            return convert(option, value, where)
        except ConfigError:
            continue
    raise ConfigError(f"{where} is {show_value(value)}; it must be {' or '.join(_name(h) for h in inner)}.")


def _convert_plain(hint: Any, value: Any, where: str) -> Any:
    is_bool = isinstance(value, bool)
    if hint is float and isinstance(value, numbers.Real) and not is_bool:
        return float(value)
    if hint is int and isinstance(value, numbers.Integral) and not is_bool:
        return int(value)
    if hint is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, hint) and not (hint in (int, float) and is_bool):
        return value
    raise ConfigError(f"{where} is {show_value(value)}; it must be {_name(hint)}.")


def _is_plain(hint: Any) -> bool:
    """Whether values are numbers or words, perhaps among other things, and never null."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return type(None) not in options and any(option in (bool, int, float, str) for option in options)


def _name(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    return words.get(hint, str(hint))


def show_value(value: Any) -> str:
    """Give a value with its kind in words, for error messages."""
    kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    text = repr(value)
    return f"{text if len(text) < 60 else text[:57] + '...'} ({kind.get(type(value), type(value).__name__)})"


def join_path(where: str, key: Any) -> str:
    """Give the dotted path of a key."""
    return f"{where}.{key}" if where else str(key)


def _keys(cls: Any) -> str:
    return ", ".join(f.name for f in dataclasses.fields(cls) if f.init)
