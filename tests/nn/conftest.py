"""The backends of the experts that can compute on this machine's CPU."""

from __future__ import annotations

import pytest

from visgen.nn.moe_backend import ENVIRONMENT


@pytest.fixture(params=["loop", "reference"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one backend for the length of a test."""
    monkeypatch.setenv(ENVIRONMENT, request.param)
    return request.param
