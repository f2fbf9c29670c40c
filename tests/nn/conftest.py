"""The backends of the experts that can compute on this machine's CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from visgen.nn import compiled_kernel
from visgen.nn.moe_backend import ENVIRONMENT


@pytest.fixture(scope="session")
def built_kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the compiled kernel in it."""
    if compiled_kernel.find_compiler() is None:
        pytest.skip("no C++ compiler here; install g++ to run this test")
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(folder))
        compiled_kernel.build_kernel()
    return folder


@pytest.fixture
def compiled(built_kernel: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For the length of a test the kernel is there, and so the choice for what it can compute."""
    monkeypatch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(built_kernel))
    compiled_kernel.kernel_library.cache_clear()
    yield
    compiled_kernel.kernel_library.cache_clear()


@pytest.fixture(params=["loop", "reference"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one backend, any dtype and any width, for the length of a test."""
    monkeypatch.setenv(ENVIRONMENT, request.param)
    return request.param
