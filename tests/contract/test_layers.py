"""The package's layers: a module imports strictly lower layers or its own package, and nothing outside visgen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = {
    0: ("errors",),
    1: ("registry", "shipped", "options"),
    # config is plain dataclasses and their strict loader: it describes runs, and the engine above reads it.
    2: ("structures", "nn", "config"),
    3: ("losses", "metrics", "data", "language"),
    4: ("backbones", "heads", "diffusion", "gan", "ood"),
    5: ("task",),
    6: ("engine",),
    7: ("zoo", "experts", "search", "export"),
    8: ("pipelines",),
    9: ("cli",),
    10: ("__main__",),
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}
OUTER = {"tasks", "data", "configs", "model_zoo", "tests"}


def imported_modules(tree: ast.Module, path: Path) -> Iterator[tuple[int, str]]:
    """Give (line, absolute dotted name) of every import in the file, also of those inside functions or by string.

    `from X import a` gives X.a: `a` may be a module, and a name inside X belongs to the same part of the package.
    """
    package = path.with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            target = node.args[0].value
            if called in ("import_module", "__import__") and isinstance(target, str):
                if target.startswith("."):
                    level = len(target) - len(target.lstrip("."))
                    target = ".".join([*package[: len(package) - level + 1], target.lstrip(".")])
                yield node.lineno, target


def violations(trees: dict[Path, ast.Module]) -> list[str]:
    """Every import that breaks the rules, as one line of text each."""
    found = []
    for path, tree in trees.items():
        own = path.with_suffix("").parts[1]
        if own == "__init__":  # the top level offers lazy names from any layer
            continue
        for line, target in imported_modules(tree, path):
            head, *rest = target.split(".")
            if head in OUTER:
                found.append(f"{path}:{line} imports '{target}', which a wheel does not have; use visgen.shipped")
            if head != "visgen" or (rest and rest[0] == own):
                continue
            part = rest[0] if rest else ""
            if part in ("__version__", ""):
                continue
            if part not in LAYER_OF:
                found.append(f"{path}:{line} imports '{target}': '{part}' has no layer; name its home in LAYERS")
            elif LAYER_OF[part] >= LAYER_OF[own]:
                word = "its sibling" if LAYER_OF[part] == LAYER_OF[own] else "upward"
                found.append(
                    f"{path}:{line} (layer {LAYER_OF[own]}) imports {word} '{target}' (layer {LAYER_OF[part]})"
                )
    return found


def test_every_part_of_the_package_has_a_layer(package_trees: dict[Path, ast.Module]) -> None:
    parts = {path.with_suffix("").parts[1] for path in package_trees} - {"__init__"}
    assert parts <= set(LAYER_OF), f"give these a layer: {sorted(parts - set(LAYER_OF))}"


def test_modules_import_only_lower_layers(package_trees: dict[Path, ast.Module]) -> None:
    assert not violations(package_trees), "\n".join(violations(package_trees))


@pytest.mark.parametrize(
    ("path", "code", "fragment"),
    [
        ("visgen/nn/a.py", "from ..backbones import Backbone", "upward 'visgen.backbones.Backbone'"),
        ("visgen/heads/a.py", "import visgen.backbones.protocol", "its sibling 'visgen.backbones.protocol'"),
        ("visgen/heads/sub/a.py", "def f():\n    from ...ood import scores", "its sibling 'visgen.ood.scores'"),
        ("visgen/data/a.py", "import_module('visgen.zoo')", "upward 'visgen.zoo'"),
        ("visgen/data/a.py", "from configs import tiny", "which a wheel does not have"),
        ("visgen/data/a.py", "from .. import pipelines", "upward 'visgen.pipelines'"),
        ("visgen/data/a.py", "from ..utils import x", "'utils' has no layer"),
        ("visgen/task/a.py", "from typing import Any\nif 0:\n    from ..engine import train", ":3 (layer 5)"),
    ],
)
def test_a_forbidden_import_is_found(path: str, code: str, fragment: str) -> None:
    (message,) = violations({Path(path): ast.parse(code)})
    assert fragment in message


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("visgen/task/a.py", "from ..heads import HEADS\nfrom .protocol import Task\nimport torch"),
        ("visgen/cli/a.py", "from .. import __version__\nfrom ..zoo import load_model"),
        ("visgen/data/readers/a.py", "from ..source import Source\nfrom ...structures import Boxes"),
    ],
)
def test_an_allowed_import_passes(path: str, code: str) -> None:
    assert violations({Path(path): ast.parse(code)}) == []


def test_outer_folders_are_no_packages(root: Path) -> None:
    assert not [p for folder in ("tasks", "data", "configs", "model_zoo") for p in (root / folder).rglob("__init__.py")]
