"""Fixtures that every test folder may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a busy machine must not turn a law into a failure. Derandomised: a failure must come back.
settings.register_profile("visgen", deadline=None, derandomize=True, max_examples=30, database=None)
settings.load_profile("visgen")

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets: the environment variable VISGEN_DATA, else `../shared/data` beside the checkout."""
    root = Path(os.environ.get("VISGEN_DATA") or CHECKOUT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set VISGEN_DATA to a folder of data sets to run this test")
    return root


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test depends on what the user's cache holds, such as a compiled kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
