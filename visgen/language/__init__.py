"""English instructions as typed plans: text to `TaskRequest`s, with no model and no torch."""

from .instruction import read_instruction
from .names import own_class
from .parser import parse
from .request import QUANTIFIERS, TASKS, TaskRequest, explain
from .world import OpenWorld

__all__ = ["QUANTIFIERS", "TASKS", "OpenWorld", "TaskRequest", "explain", "own_class", "parse", "read_instruction"]
