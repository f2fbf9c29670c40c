"""From what is asked to what is done: which heads run, and what stays of each answer.

An instruction becomes requests (`visgen.language`), and each request finds its heads:

- Without a class, the default head of the task answers; with classes, every head that knows at least one of them.
- With only classes to leave out, the default head if it knows them all, else the heads that know any.
- Depth at some classes needs to know where they are: a segmentation head that knows the class says so, else a
  detection head. "One" of a class needs a detection head, which alone tells things apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, UnknownName
from ..language import TaskRequest, explain, read_instruction
from ..structures import Boxes, DepthMap, Masks, SceneGraph, SemanticMap
from .narrow import class_region, figures_of, narrow_boxes, narrow_depth, narrow_graph, narrow_map
from .skills import Skills

__all__ = ["Plan", "Step", "plan_instruction"]


@dataclass(frozen=True)
class Step:
    """One request and who answers it.

    Args:
        request: What is asked.
        heads: The heads that answer.
        places: (class name, head) pairs that say where a class is; their own answers are not shown.
        boxes: The head whose best box means "one" instance, None when all are meant.
    """

    request: TaskRequest
    heads: tuple[str, ...]
    places: tuple[tuple[str, str], ...] = ()
    boxes: str | None = None

    @property
    def helpers(self) -> tuple[str, ...]:
        """The heads that only say where things are."""
        found = [head for _, head in self.places] + ([self.boxes] if self.boxes else [])
        return tuple(dict.fromkeys(head for head in found if head not in self.heads))

    @property
    def aside(self) -> str:
        """What a line of the plan adds about where the answer is read, with a comma in front; often nothing."""
        words = ""
        if self.places:
            words += f", where {' and '.join(f'{head} sees {name}' for name, head in self.places)}"
        if self.boxes and self.boxes not in self.heads:
            words += f", in the best box of {self.boxes}"
        if self.request.task == "ood" and (self.request.classes or self.request.exclude):
            words += ", about the whole picture"
        return words


@dataclass(frozen=True)
class Plan:
    """What a call of a pipeline does with each picture.

    Args:
        heads: The heads whose answers are given, in order.
        steps: One per request; none when there was no instruction, and then the answers stay whole.
        instruction: What was typed.
        skills: What the heads know.
    """

    heads: tuple[str, ...]
    skills: Skills
    steps: tuple[Step, ...] = ()
    instruction: str | tuple[str, ...] | None = None

    @property
    def running(self) -> tuple[str, ...]:
        """The heads that run: those that answer, then those that only say where things are."""
        return tuple(dict.fromkeys((*self.heads, *(head for step in self.steps for head in step.helpers))))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the heads that run."""
        return tuple(dict.fromkeys(self.skills.tasks[head] for head in self.running))

    def explain(self) -> str:
        """Give one plain line per request: what is asked, and which heads answer."""
        if not self.steps:
            return "\n".join(
                f"{n}. {self.skills.tasks[head]}: everything - answered by {head}"
                for n, head in enumerate(self.heads, 1)
            )
        lines = explain([step.request for step in self.steps]).splitlines()
        return "\n".join(
            f"{line} - answered by {' and '.join(step.heads)}{step.aside}"
            for line, step in zip(lines, self.steps, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the plan as a JSON-able dictionary; lists run parallel to "requests"."""
        return {
            "instruction": list(self.instruction) if isinstance(self.instruction, tuple) else self.instruction,
            "requests": [step.request.to_dict() for step in self.steps],
            "heads": [list(step.heads) for step in self.steps] if self.steps else [[head] for head in self.heads],
            "helpers": [list(step.helpers) for step in self.steps],
        }

    def answer(
        self, values: Mapping[str, Any], limit: Callable[[Any], Any]
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Give what stays of the answers about one picture, and the record of what was asked.

        Args:
            values: Head name -> typed value, for all of `running`.
            limit: Applies the display limits (threshold, most boxes) to a value.
        Returns:
            Head name -> typed value for each of `heads`; and `to_dict()` with "answers", the figures that the request
            asked for, or None without an instruction.
        """
        if not self.steps:
            return {head: limit(values[head]) for head in self.heads}, None
        helpers = {head: limit(values[head]) for step in self.steps for head in step.helpers}
        seen = {**values, **helpers}
        given = {
            head: limit(self._narrow(head, values[head], seen, [step for step in self.steps if head in step.heads]))
            for head in self.heads
        }
        answers = [self._figures(step, given, seen) for step in self.steps]
        return given, {**self.to_dict(), "answers": answers}

    def _narrow(self, head: str, value: Any, seen: Mapping[str, Any], steps: Sequence[Step]) -> Any:
        """What some of the steps that a head answers ask for of its value."""
        requests = [self._in_words_of(head, step.request) for step in steps]
        if isinstance(value, (Boxes, Masks)):
            return narrow_boxes(value, requests)
        if isinstance(value, SemanticMap):
            parts = [part for step in steps for part in self._parts(head, step, seen)]
            return narrow_map(value, [request for request, _ in parts], [region for _, region in parts])
        if isinstance(value, DepthMap):
            return narrow_depth(value, [self._region(step, seen) for step in steps])
        return narrow_graph(value, requests) if isinstance(value, SceneGraph) else value

    def _in_words_of(self, head: str, request: TaskRequest) -> TaskRequest:
        """The request with the head's own class names; a class that it does not know, and that another head answers
        about, stays as it is and matches nothing."""
        own = lambda name: self.skills.own(head, name) or name  # noqa: E731
        relation = request.relation
        if relation is not None:
            subject, predicate, target = relation
            relation = (subject and own(subject), predicate, target and own(target))
        return replace(
            request,
            classes=tuple(map(own, request.classes)),
            exclude=tuple(map(own, request.exclude)),
            relation=relation,
        )

    def _place(self, name: str, head: str, seen: Mapping[str, Any], one: bool = False) -> Tensor:
        value = seen[head]
        boxes = value.to_boxes() if isinstance(value, Masks) else value
        return class_region(boxes, self.skills.own(head, name) or name, one)

    def _parts(self, head: str, step: Step, seen: Mapping[str, Any]) -> list[tuple[TaskRequest, Tensor | None]]:
        """A request of segmentation, and of "one" a request per class, with the best box of that class."""
        request = self._in_words_of(head, step.request)
        if step.boxes is None:
            return [(request, None)]
        regions = [self._place(name, step.boxes, seen, one=True) for name in step.request.classes]
        return [(replace(request, classes=(name,)), r) for name, r in zip(request.classes, regions, strict=True)]

    def _where(self, step: Step, seen: Mapping[str, Any]) -> dict[str, Tensor]:
        """The pixels of each class that a request of depth names."""
        where = {name: self._place(name, head, seen) for name, head in step.places}
        for name in step.request.classes if step.boxes else ():
            where[name] = where[name] & self._place(name, str(step.boxes), seen, one=True)
        return where

    def _region(self, step: Step, seen: Mapping[str, Any]) -> Tensor | None:
        """The pixels that a request of depth is about; None for all."""
        if not step.places:
            return None
        where = self._where(step, seen)
        asked = [where[name] for name in step.request.classes]
        left_out = [where[name] for name in step.request.exclude]
        region = _union(asked) if asked else torch.ones_like(left_out[0])
        return region & ~_union(left_out) if left_out else region

    def _figures(self, step: Step, given: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers that answer a request, from what of the answers it alone asks for."""
        figures: dict[str, Any] = {}
        for head in reversed(step.heads):  # the first head has the last word
            value = self._narrow(head, given[head], seen, (step,))
            where = self._where(step, seen) if step.places else {}
            for kind, found in figures_of(value, self._in_words_of(head, step.request), where).items():
                figures[kind] = {**figures.get(kind, {}), **found}
        return figures


def plan_instruction(instruction: str | Sequence[str], skills: Skills, heads: Sequence[str] | None = None) -> Plan:
    """Give the plan of an instruction.

    Args:
        instruction: A sentence, or a list of sentences and class names; see `visgen.language.read_instruction`.
        skills: What the heads of the model know.
        heads: The only heads that may answer; None for any.
    Raises:
        ConfigError: It asks for a task that `heads` leave out, or is no text.
        UnknownName: It is not understood, or names something that no head which may answer knows.
    """
    tasks = tuple(dict.fromkeys(skills.tasks[head] for head in heads or ()))
    requests = read_instruction(instruction, skills.vocabulary(), skills.all_predicates() or None, tasks)
    for request in requests:
        if heads is not None and request.task not in tasks:
            raise ConfigError(
                f"the instruction asks for {request.task} ({explain([request])[3:]}), but this pipeline was made for "
                f"{', '.join(tasks)}; ask only for those, or make it with task=None."
            )
    steps = tuple(_step(request, skills, heads) for request in requests)
    answering = tuple(dict.fromkeys(head for step in steps for head in step.heads))
    typed = instruction if isinstance(instruction, str) else tuple(instruction)
    return Plan(answering, skills, steps, typed)


def _step(request: TaskRequest, skills: Skills, heads: Sequence[str] | None) -> Step:
    found = _heads(request, skills, heads)
    places: tuple[tuple[str, str], ...] = ()
    if request.task == "depth":
        places = tuple((name, _place_head(name, skills)) for name in (*request.classes, *request.exclude))
    one = request.quantifier == "one" and request.task in ("segmentation", "depth")
    return Step(request, found, places, _boxes_head(request, skills) if one else None)


def _heads(request: TaskRequest, skills: Skills, heads: Sequence[str] | None) -> tuple[str, ...]:
    candidates = skills.of(request.task, heads)
    default = candidates[:1] if heads is None else candidates
    relation = request.relation or (None, None, None)
    parts = [name for name in (*request.classes, *request.exclude, relation[0], relation[2]) if name is not None]
    if request.task in ("depth", "ood") or not (parts or relation[1]):
        return default
    known = {head: [name for name in parts if skills.own(head, name) is not None] for head in candidates}
    for name in parts:
        if not any(name in names for names in known.values()):
            raise UnknownName(
                f"class '{name}' is not known to {' or '.join(candidates)}, which the pipeline was made for; "
                f"{' and '.join(h for h in skills.of(request.task) if skills.own(h, name))} can answer: name that head."
            )
    if request.relation is not None:
        wanted = {relation[1]} - {None}
        able = [h for h in candidates if len(known[h]) == len(parts) and wanted <= set(skills.predicates.get(h, ()))]
        if not able:
            raise UnknownName(
                f"no scene-graph head knows all of '{' '.join(part or '?' for part in relation)}'; "
                f"{', '.join(candidates)} each know a part; ask for less."
            )
        return tuple(able)
    if not request.classes:
        whole = [head for head in default if len(known[head]) == len(parts)]
        return tuple(whole) or tuple(head for head in candidates if known[head])
    return tuple(head for head in candidates if any(skills.own(head, name) for name in request.classes))


def _place_head(name: str, skills: Skills) -> str:
    found = [h for task in ("segmentation", "detection") for h in skills.of(task) if skills.own(h, name) is not None]
    if not found:
        raise UnknownName(
            f"no segmentation or detection head knows where '{name}' is, so depth cannot be read there; ask for the "
            "depth of everything."
        )
    return found[0]


def _boxes_head(request: TaskRequest, skills: Skills) -> str:
    for head in skills.of("detection"):
        if request.classes and all(skills.own(head, name) is not None for name in request.classes):
            return head
    raise UnknownName(
        f"'{explain([request])[3:]}' asks for one of several, which only a detection head can tell apart, and none "
        f"knows {' and '.join(request.classes) or 'everything'}; ask for all of them."
    )


def _union(regions: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(regions)).any(dim=0)
