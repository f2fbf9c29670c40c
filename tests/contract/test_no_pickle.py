"""No file that visgen reads can run code: no pickle, no torch.load, no unsafe yaml, no eval."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system"}
FLAGS = {"allow_pickle", "trust_remote_code", "shell"}


def dotted(node: ast.expr) -> str:
    """Give "a.b.c" for a chain of names, and "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def safe_yaml(tree: ast.Module, call: ast.Call) -> bool:
    """True for yaml.load with SafeLoader or with a class of this file that extends it."""
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    safe = {c.name for c in classes if any(dotted(b).endswith("SafeLoader") for b in c.bases)} | {"yaml.SafeLoader"}
    loaders = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "Loader")]
    return dotted(call.func) == "yaml.load" and [dotted(loader) in safe for loader in loaders] == [True]


def unsafe(tree: ast.Module) -> list[str]:
    """Every unsafe import, call or flag, as "line: what"."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
            found += [f"{node.lineno}: import {name}" for name in names if name in MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] in MODULES:
            found.append(f"{node.lineno}: from {node.module}")
        elif isinstance(node, ast.Call):
            if dotted(node.func) in CALLS and not safe_yaml(tree, node):
                found.append(f"{node.lineno}: {dotted(node.func)}")
            flags = [k.arg for k in node.keywords if k.arg in FLAGS]
            literal = [k.arg for k in node.keywords if isinstance(k.value, ast.Constant) and k.value.value is False]
            found += [f"{node.lineno}: {flag}=" for flag in flags if flag not in literal]
    return found


def test_nothing_in_the_tree_unpickles_or_evaluates(trees: dict[Path, ast.Module]) -> None:
    found = [f"{path}:{what}" for path, tree in trees.items() for what in unsafe(tree)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import pickle", "1: import pickle"),
        ("from joblib import load", "1: from joblib"),
        ("torch.load(path, weights_only=True)", "1: torch.load"),
        ("np.load(path, allow_pickle=True)", "1: allow_pickle="),
        ("yaml.load(text)", "1: yaml.load"),
        ("yaml.load(text, Loader=yaml.Loader)", "1: yaml.load"),
        ("eval('1')", "1: eval"),
    ],
)
def test_an_unsafe_line_is_found(code: str, what: str) -> None:
    assert unsafe(ast.parse(code)) == [what]


@pytest.mark.parametrize(
    "code",
    [
        "model.eval()",
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "class _Loader(yaml.SafeLoader): ...\nyaml.load(text, _Loader)",
    ],
)
def test_a_safe_line_passes(code: str) -> None:
    assert unsafe(ast.parse(code)) == []
