"""visgen: several vision tasks in one mixture-of-experts model.

Names load on first use, so that `import visgen` stays quick and touches neither torch nor the network.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "pipeline": "visgen.pipelines",
    "Result": "visgen.structures",
    "load_image": "visgen.structures",
    "list_models": "visgen.zoo",
    "load_model": "visgen.zoo",
    "MultiTaskModel": "visgen.task",
    "evaluate": "visgen.engine",
}

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'visgen' has no attribute '{name}'; it offers {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
