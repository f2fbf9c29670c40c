"""Find the files that ship with visgen: in `visgen/_shipped` of the wheel, or in a checkout beside the package."""

from __future__ import annotations

from pathlib import Path

from .errors import VisgenError

__all__ = ["shipped_path"]

_PACKAGE = Path(__file__).resolve().parent


def shipped_path(relative: str) -> Path:
    """Give the path of a shipped file or folder.

    Args:
        relative: Such as "configs/tiny.yaml", "model_zoo/index.json" or "data/samples".
    Raises:
        VisgenError: Neither the wheel nor a checkout has it.
    """
    for root in (_PACKAGE / "_shipped", _PACKAGE.parent):
        candidate = root / relative
        if candidate.exists():
            return candidate
    raise VisgenError(
        f"shipped file '{relative}' was not found under {_PACKAGE}; it must lie in the wheel or in the checkout "
        "beside the package; reinstall visgen."
    )
