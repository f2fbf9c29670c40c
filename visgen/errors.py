"""Errors that a caller can cause; each message says what is wrong, the value, the rule and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "ImageError",
    "MissingDependency",
    "UnknownName",
    "VisgenError",
    "nearest",
]


class VisgenError(Exception):
    """Base of every error that visgen raises on purpose; the command line turns it into exit code 2."""


class UnknownName(VisgenError, LookupError):
    """A name that no registry, model zoo or label set knows."""


class ConfigError(VisgenError, ValueError):
    """A configuration that cannot be run as written."""


class DataError(VisgenError, ValueError):
    """A data set, annotation or target that breaks its format."""


class ImageError(DataError):
    """An input that cannot be read as an image."""


class CheckpointError(VisgenError, ValueError):
    """Weights or training state that are missing, torn or do not fit."""


class MissingDependency(VisgenError, ImportError):
    """An optional package is absent; the message names the extra that installs it."""


def nearest(name: str, known: Iterable[str], otherwise: str = ".") -> str:
    """Give "; did you mean 'x'?" for the closest known name, or `otherwise` when none is close.

    Either ends the clause before it: a sentence may follow, and a full stop need not.
    """
    close = get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else otherwise
