"""Nothing is tied to CUDA: devices come from the inputs or from the one module that chooses them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest


def docstrings(tree: ast.Module) -> set[int]:
    """Identities of the constant nodes that are docstrings."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [n for n in ast.walk(tree) if isinstance(n, holders) and n.body]
    return {id(n.body[0].value) for n in nodes if isinstance(n.body[0], ast.Expr)}


def cuda_calls(tree: ast.Module) -> list[int]:
    """Lines of `x.cuda(...)`."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    return [n.lineno for n in calls if n.func.attr == "cuda"]


def cuda_names(tree: ast.Module) -> list[int]:
    """Lines of a string such as "cuda" or "cuda:0" outside docstrings."""
    skipped = docstrings(tree)
    constants = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [n.lineno for n in constants if id(n) not in skipped and re.fullmatch(r"cuda(:\d*)?", n.value)]


def test_nothing_calls_cuda(trees: dict[Path, ast.Module]) -> None:
    found = [f"{path}:{line}" for path, tree in trees.items() for line in cuda_calls(tree)]
    assert not found, f"use .to(device) with the device of the inputs: {found}"


def test_one_module_names_the_cuda_device(trees: dict[Path, ast.Module]) -> None:
    modules = [str(path) for path, tree in trees.items() if cuda_names(tree)]
    assert len(modules) <= 1, f"one module chooses devices; several name 'cuda': {modules}"


@pytest.mark.parametrize("code", ["model.cuda()", "x = model.head.cuda(0)"])
def test_a_cuda_call_is_found(code: str) -> None:
    assert cuda_calls(ast.parse(code)) == [1]


def test_a_cuda_name_is_found_and_a_docstring_is_not() -> None:
    tree = ast.parse('def f():\n    """cuda"""\n    return "cuda:0", "cudagraph"\n')
    assert cuda_names(tree) == [3]
