"""The small real run that the engine's tests share."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The module `_toy_run.py` beside this file, which tests also start as a script."""
    if "visgen_toy_run" not in sys.modules:
        spec = spec_from_file_location("visgen_toy_run", Path(__file__).with_name("_toy_run.py"))
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules["visgen_toy_run"] = module
        spec.loader.exec_module(module)
    return sys.modules["visgen_toy_run"]
