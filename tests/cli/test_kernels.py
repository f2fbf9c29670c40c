"""`visgen kernels`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visgen.nn import compiled_kernel


def test_status_says_what_computes(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(tmp_path))
    compiled_kernel.kernel_library.cache_clear()
    found = visgen_json("kernels", "status")
    assert found["built"] is False and found["kernel"].startswith(str(tmp_path))
    assert found["backends"] == {"float32": "loop", "bfloat16": "loop"}
    assert visgen("kernels", "status").stdout.startswith("not built: ")


def test_building_without_a_compiler_is_exit_code_2(
    visgen: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(tmp_path))
    monkeypatch.setattr(compiled_kernel, "find_compiler", lambda: None)
    result = visgen("kernels", "build")
    assert result.exit_code == 2 and "visgen works without the compiled kernel" in result.stderr
