"""What an instruction asks of one task, and a list of those in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DataError, UnknownName, nearest

__all__ = ["QUANTIFIERS", "TASKS", "TaskRequest", "explain"]

TASKS = ("classification", "detection", "segmentation", "depth", "ood", "scene_graph")
QUANTIFIERS = ("all", "one", "count")
FIELDS = ("task", "classes", "exclude", "relation", "quantifier", "raw")
EXTRA = ("attributes", "colours", "open_vocabulary")  # written only where they say something


@dataclass(frozen=True)
class TaskRequest:
    """One task, and what it shall answer about.

    Args:
        task: A task key.
        classes: Class names as the model writes them; empty means no restriction. Classification weighs these classes
            against the picture; depth and ood are read where these classes are; a scene graph keeps these nodes.
        exclude: Class names to leave out.
        relation: For a question to the scene graph: (subject, predicate, object), None where the answer belongs.
        quantifier: "all", "one" (a single instance was asked for) or "count" (their number is the answer).
        raw: The whole instruction as it was typed.
        attributes: (class, word) pairs that narrow a class down: ("car", "red") in "find the red car", ("chair", "far")
            in "how many chairs are far away". Only a model that reads the words itself can answer them.
        colours: (class, colour) pairs of the answer as a picture: "paint the orange blue" is (("orange", "blue"),). For
            a question with yes or no the "classes" are "yes" and "no".
        open_vocabulary: True when a class is known to no head, so that only such a model can be asked.
    Raises:
        UnknownName: `task` or `quantifier` is not known.
        DataError: Another field breaks these rules.
    """

    task: str
    classes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    relation: tuple[str | None, str | None, str | None] | None = None
    quantifier: str = "all"
    raw: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    colours: tuple[tuple[str, str], ...] = ()
    open_vocabulary: bool = False

    def __post_init__(self) -> None:
        for field, value, known in (("task", self.task, TASKS), ("quantifier", self.quantifier, QUANTIFIERS)):
            if value not in known:
                raise UnknownName(f"{field} '{value}' is not known{nearest(value, known)} Known: {', '.join(known)}.")
        for field, names in (("classes", self.classes), ("exclude", self.exclude)):
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise DataError(f"{field} of TaskRequest is {names!r}; it must be a tuple of class names.")
        if not isinstance(self.raw, str):
            raise DataError(f"raw of TaskRequest is {self.raw!r}; it must be the instruction as a string.")
        for field, pairs in (("attributes", self.attributes), ("colours", self.colours)):
            good = isinstance(pairs, tuple) and all(
                isinstance(p, tuple) and len(p) == 2 and all(isinstance(part, str) for part in p) for p in pairs
            )
            if not good:
                raise DataError(f"{field} of TaskRequest is {pairs!r}; it must be a tuple of (class, word) pairs.")
        if type(self.open_vocabulary) is not bool:
            raise DataError(f"open_vocabulary of TaskRequest is {self.open_vocabulary!r}; it must be True or False.")
        self._check_relation()

    @property
    def needs_language(self) -> bool:
        """True when only a model that reads the words itself can answer: an open class, a colour, an attribute."""
        return self.open_vocabulary or bool(self.colours or self.attributes)

    def _check_relation(self) -> None:
        if self.relation is None:
            return
        parts = self.relation
        good = isinstance(parts, tuple) and len(parts) == 3 and all(p is None or isinstance(p, str) for p in parts)
        if not good:
            raise DataError(
                f"relation of TaskRequest is {parts!r}; it must be (subject, predicate, object), each a name or None."
            )
        if self.task != "scene_graph":
            raise DataError(f"relation of TaskRequest is {parts!r} but its task is '{self.task}'; use 'scene_graph'.")

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores it exactly. What is empty of `EXTRA` is not written."""
        extra: dict[str, Any] = {
            "attributes": [list(pair) for pair in self.attributes],
            "colours": [list(pair) for pair in self.colours],
            "open_vocabulary": self.open_vocabulary,
        }
        return {
            "task": self.task,
            "classes": list(self.classes),
            "exclude": list(self.exclude),
            "relation": None if self.relation is None else list(self.relation),
            "quantifier": self.quantifier,
            "raw": self.raw,
            **{key: value for key, value in extra.items() if value},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TaskRequest:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing, unknown or of another form."""
        if not isinstance(data, Mapping):
            raise DataError(f"a TaskRequest is read from a dictionary, not from {data!r}; pass what to_dict gave.")
        missing = [key for key in FIELDS if key not in data]
        if missing:
            raise DataError(f"the dictionary of a TaskRequest has no '{missing[0]}'; it must come from its to_dict.")
        known = (*FIELDS, *EXTRA)
        unknown = [key for key in data if key not in known]
        if unknown:
            raise DataError(
                f"a TaskRequest has no '{unknown[0]}'{nearest(unknown[0], known)} It must come from to_dict."
            )
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        for key in ("attributes", "colours"):
            fields[key] = tuple(tuple(p) if isinstance(p, list) else p for p in fields.get(key, ()))
        return cls(**fields)


def explain(requests: Sequence[TaskRequest]) -> str:
    """Give the plan as one plain line per request, in order."""
    return "\n".join(f"{number}. {request.task}: {_words(request)}" for number, request in enumerate(requests, 1))


def _words(request: TaskRequest) -> str:
    if request.relation is not None:
        return " ".join(part or "?" for part in request.relation)
    each = [" ".join([*(word for owner, word in request.attributes if owner == c), c]) for c in request.classes]
    what = " and ".join(each) or "everything"
    how = {"all": "", "one": "one instance of ", "count": "how many of "}[request.quantifier]
    rest = f", without {' and '.join(request.exclude)}" if request.exclude else ""
    painted = " and ".join(f"{name} {colour}" for name, colour in request.colours)
    paint = f", painted {painted}" if painted else ""
    return f"{how}{what}{rest}{paint}"
