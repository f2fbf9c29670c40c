"""YAML to frozen dataclasses, strictly: an unknown key or a wrong type is an error with its path and a way out."""

from __future__ import annotations

import copy
import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from ..errors import ConfigError, nearest

__all__ = ["apply_overrides", "from_mapping", "load_config", "to_mapping", "to_yaml"]

C = TypeVar("C")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_INDEX = re.compile(r"^\d+$")


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-3 as a number (YAML 1.1 wants 1.0e-3) and refuses a key given twice."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise ConfigError(f"key '{key}' is given twice at line {key_node.start_mark.line + 1}; keep one of them.")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def load_config(
    cls: type[C],
    path: str | Path,
    overrides: Iterable[str] = (),
    variables: Mapping[str, str | Path | None] | None = None,
) -> C:
    """Read a YAML file into the dataclass `cls`.

    Args:
        cls: A dataclass; nested dataclasses, tuples, dicts, Literal and None unions are understood.
        path: The file. Its key `extends` may name one other file, relative to it, whose keys it overlays;
            null in place of a mapping drops it (one data part or head of the other file, say). In a mapping of names
            to numbers or words (the weights of heads, say) null drops the entry.
        overrides: "a.b.0=value", the value in YAML; a name in `variables` sets that variable.
        variables: Names that may appear as `${name}` in text values, with their values.
    Raises:
        ConfigError: See the module docstring; the message holds the dotted path of the key.
    """
    values = dict(variables or {})
    data = _read(Path(path))
    base = data.pop("extends", None)
    if base is not None:
        if not isinstance(base, str):
            raise ConfigError(f"extends is {base!r} in {path}; it names one YAML file.")
        parent = _read(Path(path).parent / base)
        if "extends" in parent:
            raise ConfigError(
                f"{base}, which {path} extends, extends {parent['extends']!r} itself; at most one level is allowed: "
                "copy the values or extend that file directly."
            )
        data = _overlay(parent, data)
    for override in overrides:
        name, value = _parse_override(override)
        if name in values:
            values[name] = str(value)
        else:
            _apply(data, name, value, override)
    return from_mapping(cls, _substitute(data, values, ""))


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Give a copy of plain data with "a.b.0=value" texts applied; values are read as YAML."""
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for override in overrides:
        name, value = _parse_override(override)
        _apply(changed, name, value, override)
    return changed


def from_mapping(cls: type[C], data: Mapping[str, Any], where: str = "") -> C:
    """Fill the dataclass `cls` from plain data; `where` is the dotted path that errors start with.

    Raises:
        ConfigError: Unknown key, missing key, or wrong type.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where or 'the file'} is {_show(data)}; it must be a mapping of {_keys(cls)}.")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    filled = {}
    for key, value in data.items():
        if key not in fields:
            raise ConfigError(
                f"unknown key '{_join(where, key)}'{nearest(str(key), fields)} "
                f"Allowed in {where or 'the file'}: {_keys(cls)}."
            )
        filled[key] = _convert(hints[key], value, _join(where, key))
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in filled:
            raise ConfigError(f"'{_join(where, name)}' is missing; it has no default, add it.")
    return cls(**filled)


def to_mapping(config: Any) -> Any:
    """Give the plain data (dicts, lists, numbers, text) that `from_mapping` reads back to an equal config."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_mapping(getattr(config, f.name)) for f in dataclasses.fields(config) if f.init}
    if isinstance(config, Mapping):
        return {str(k): to_mapping(v) for k, v in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_mapping(v) for v in config]
    return config


def to_yaml(config: Any) -> str:
    """Write every value of a config, defaults included, as YAML."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True, width=120)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"config file '{path}' cannot be read: {error.strerror}; give the path of a YAML file."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"config file '{path}' is not UTF-8 text: {error}; give the path of a YAML file.") from error
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"config file '{path}' is not valid YAML: {error}; correct it there.") from error
    except ConfigError as error:
        raise ConfigError(f"config file '{path}': {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"config file '{path}' holds {_show(data)}; it must hold a mapping of keys.")
    return data


def _overlay(base: Any, top: Any) -> Any:
    """Lay `top` over `base`: mappings merge key by key, null drops a mapping, anything else is replaced."""
    if isinstance(base, dict) and isinstance(top, dict):
        merged = {**base, **{k: _overlay(base[k], v) if k in base else v for k, v in top.items()}}
        return {k: v for k, v in merged.items() if not (v is None and isinstance(base.get(k), dict))}
    return top


def _parse_override(override: str) -> tuple[str, Any]:
    name, equals, text = override.partition("=")
    name = name.strip()
    if not equals or not name or not all(name.split(".")):
        raise ConfigError(f"override '{override}' is not of the form a.b=value; write --set train.steps=100.")
    try:
        return name, yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"override '{override}' has a value that is not YAML: {error}; quote it.") from error


def _apply(data: Any, name: str, value: Any, override: str) -> None:
    """Set the value at a dotted path, longest known key first because head names hold dots."""
    parts = name.split(".")
    node, start = data, 0
    while True:
        if isinstance(node, list):
            if not _INDEX.match(parts[start]) or int(parts[start]) >= len(node):
                raise ConfigError(
                    f"override '{override}': '{parts[start]}' is no index of '{'.'.join(parts[:start])}', "
                    f"a list of {len(node)}; use 0..{len(node) - 1}."
                )
            key: Any = int(parts[start])
            end = start + 1
        elif isinstance(node, dict):
            known = [e for e in range(len(parts), start, -1) if ".".join(parts[start:e]) in node]
            end = known[0] if known else start + 1
            key = ".".join(parts[start:end])
        else:
            raise ConfigError(
                f"override '{override}': '{'.'.join(parts[:start])}' is {_show(node)}, which has no parts; "
                "set it as a whole."
            )
        if end == len(parts):
            node[key] = value
            return
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
        node, start = node[key], end


def _substitute(value: Any, variables: Mapping[str, str | Path | None], where: str) -> Any:
    if isinstance(value, dict):
        return {k: _substitute(v, variables, _join(where, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, variables, _join(where, i)) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise ConfigError(
                f"{where} is '{value}'; '${{{name}}}' is no variable{nearest(name, variables)} "
                f"Known: {', '.join(variables) or 'none'}."
            )
        if variables[name] is None:
            raise ConfigError(
                f"{where} is '{value}' but {name} has no value; give it with --{name.replace('_', '-')} or --set "
                f"{name}=..."
            )
        return str(variables[name])

    return _VARIABLE.sub(replace, value)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        options = [h for h in inner if h is not type(None)]
        if len(options) == 1:
            return _convert(options[0], value, where)
        for option in options:
            try:
                return _convert(option, value, where)
            except ConfigError:
                continue
        raise ConfigError(f"{where} is {_show(value)}; it must be {' or '.join(_name(h) for h in inner)}.")
    if origin is Literal:
        if value not in inner:
            raise ConfigError(
                f"{where} is {value!r}{nearest(str(value), inner)} It must be one of {', '.join(map(repr, inner))}."
            )
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {_show(value)}; it must be a mapping.")
        kept = {k: v for k, v in value.items() if v is not None or not _is_plain(inner[1])}
        return {str(k): _convert(inner[1], v, _join(where, k)) for k, v in kept.items()}
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} is {_show(value)}; it must be a list.")
        fixed = origin is tuple and inner[-1] is not Ellipsis
        if fixed and len(value) != len(inner):
            raise ConfigError(f"{where} has {len(value)} values; it must have {len(inner)}.")
        hints = inner if fixed else (inner[0],) * len(value)
        return origin(_convert(h, v, _join(where, i)) for i, (h, v) in enumerate(zip(hints, value, strict=True)))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where} is {_show(value)}; it must be {_name(hint)}.")


def _is_plain(hint: Any) -> bool:
    """Whether values are numbers or words, perhaps among other things, and never null."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return type(None) not in options and any(option in (bool, int, float, str) for option in options)


def _name(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    return words.get(hint, str(hint))


def _show(value: Any) -> str:
    kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "a mapping"}
    text = repr(value)
    return f"{text if len(text) < 60 else text[:57] + '...'} ({kind.get(type(value), type(value).__name__)})"


def _keys(cls: Any) -> str:
    return ", ".join(f.name for f in dataclasses.fields(cls) if f.init)


def _join(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)
