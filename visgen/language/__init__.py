"""English instructions as typed plans: text to `TaskRequest`s, with no model and no torch."""

from .parser import parse
from .request import QUANTIFIERS, TASKS, TaskRequest, explain

__all__ = ["QUANTIFIERS", "TASKS", "TaskRequest", "explain", "parse"]
