"""YAML to frozen dataclasses, strictly: an unknown key or a wrong type is an error with its path and a way out."""

from __future__ import annotations

import copy
import dataclasses
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..errors import ConfigError, nearest
from ..options import from_mapping, join_path, show_value

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
        if key_node.tag == "tag:yaml.org,2002:bool":  # YAML 1.1 takes the key `on` for true
            key_node.tag = "tag:yaml.org,2002:str"
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
        overrides: "a.b.0=value", the value in YAML; a name in `variables` sets that variable, and null in place of a
            mapping drops it, as above.
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
            _apply(data, name, value, override, cls)
    return from_mapping(cls, _substitute(data, values, ""))


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Give a copy of plain data with "a.b.0=value" texts applied; values are read as YAML."""
    changed: dict[str, Any] = copy.deepcopy(dict(data))
    for override in overrides:
        name, value = _parse_override(override)
        _apply(changed, name, value, override)
    return changed


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
        raise ConfigError(f"config file '{path}' holds {show_value(data)}; it must hold a mapping of keys.")
    return data


def _overlay(base: Any, top: Any) -> Any:
    """Lay `top` over `base`: mappings merge key by key, null drops a mapping, anything else is replaced."""
    if isinstance(base, dict) and isinstance(top, dict):
        merged = {**base, **{k: _overlay(base[k], v) if k in base else v for k, v in top.items()}}
        return {k: v for k, v in merged.items() if not (v is None and isinstance(base.get(k), dict))}
    return top


def read_value(text: str) -> Any:
    """Read one value as YAML, in which 1e-3 is a number."""
    return yaml.load(text, _Loader)


def _parse_override(override: str) -> tuple[str, Any]:
    name, equals, text = override.partition("=")
    name = name.strip()
    if not equals or not name or not all(name.split(".")):
        raise ConfigError(f"override '{override}' is not of the form a.b=value; write --set train.steps=100.")
    try:
        return name, read_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override '{override}' has a value that is not YAML: {error}; quote it.") from error


def _apply(data: Any, name: str, value: Any, override: str, hint: Any = None) -> None:
    """Set the value at a dotted path, longest known key first because head names hold dots.

    Where `hint`, the class that the data are of, has a mapping to numbers or text, the rest of the path is one key.
    """
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
            is_flat = typing.get_origin(hint) is dict and typing.get_args(hint)[1] in (float, str)
            end = len(parts) if is_flat else known[0] if known else start + 1
            key = ".".join(parts[start:end])
        else:
            raise ConfigError(
                f"override '{override}': '{'.'.join(parts[:start])}' is {show_value(node)}, which has no parts; "
                "set it as a whole."
            )
        if end == len(parts):
            if value is None and isinstance(node, dict) and isinstance(node.get(key), dict):
                del node[key]  # as in a file that extends another
            else:
                node[key] = value
            return
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
        hint = typing.get_type_hints(hint).get(key) if dataclasses.is_dataclass(hint) else None
        node, start = node[key], end


def _substitute(value: Any, variables: Mapping[str, str | Path | None], where: str) -> Any:
    if isinstance(value, dict):
        return {k: _substitute(v, variables, join_path(where, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_substitute(v, variables, join_path(where, i)) for i, v in enumerate(value)]
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
