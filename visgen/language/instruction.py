"""An instruction in any of its forms - a sentence, a list of sentences, a list of class names - to its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError, UnknownName
from .frames import SET
from .names import PLACES, class_names
from .parser import MAX_WORDS, normalise, parse
from .request import TaskRequest

__all__ = ["read_instruction"]


def read_instruction(
    instruction: str | Sequence[str],
    vocabulary: Mapping[str, Sequence[str]],
    predicates: Sequence[str] | None = None,
    tasks: Sequence[str] = (),
) -> list[TaskRequest]:
    """Give the requests of an instruction.

    Args:
        instruction: One or more sentences in one text; or a list, each item of which stands on its own and is a
            sentence or a class name ("it" does not reach back into another item). The class names of a list are one
            request together: `["cars", "people"]` is "find the cars and the people".
        vocabulary, predicates: As in `parse`.
        tasks: What class names without a verb are asked of; when empty, detection, or segmentation in a model
            without detection.
    Returns:
        At least one request; the class names of a list come first, then its sentences in order.
    Raises:
        ConfigError: It is neither a text nor a list of texts, or the list is empty or too long.
        UnknownName: A sentence is not understood (see `parse`), or no task of `tasks` knows a class name.
    """
    if isinstance(instruction, str):
        return parse(instruction, vocabulary, predicates)
    items = _items(instruction)
    named: dict[str, tuple[str, ...]] = {}
    sentences: list[TaskRequest] = []
    names = class_names(tuple((task, tuple(classes)) for task, classes in vocabulary.items()))
    asked = list(tasks) or [next((task for task in PLACES if task in vocabulary), "")]
    for position, item in enumerate(items):
        exact = _exactly(item, vocabulary, asked)
        if exact:  # whatever it looks like: "a/b" and "the cup" are no sentences where classes are called so
            for task, own in exact.items():
                named[task] = tuple(dict.fromkeys((*named.get(task, ()), own)))
            continue
        words = normalise(item)
        while len(words) > 1 and (words[0],) in SET["DET"]:
            words = words[1:]
        try:
            if not words or names.match(words, 0) != len(words):
                sentences += [r for r in parse(item, vocabulary, predicates) if r not in sentences]
                continue
            able = {task: name for task in asked if (name := names.find(task, words)) is not None}
            if not able:
                raise UnknownName(
                    f"class '{' '.join(words)}' is not known to {' or '.join(filter(None, asked)) or 'this model'}"
                    f"{names.suggest(words, asked[0]) or '.'} {', '.join(names.tasks_that_know(words))} can be asked "
                    "for it in a sentence."
                )
        except UnknownName as error:
            hint = names.suggest(words) if 0 < len(words) <= 3 else ""  # it may be a misspelt class name
            as_name = f" As a class name it is not known{hint}" if hint and hint not in str(error) else ""
            raise UnknownName(f"item {position} of the instruction: {error}{as_name}") from error
        for task, name in able.items():
            named[task] = tuple(dict.fromkeys((*named.get(task, ()), name)))
    raw = "; ".join(items)
    return [*(TaskRequest(task, classes, raw=raw) for task, classes in named.items()), *sentences]


def _exactly(item: str, vocabulary: Mapping[str, Sequence[str]], tasks: Sequence[str]) -> dict[str, str]:
    """Task to its class that is called just so, but for capitals."""
    wanted = item.strip().casefold()
    return {task: name for task in tasks for name in vocabulary.get(task, ()) if name.casefold() == wanted}


def _items(instruction: Any) -> list[str]:
    if not isinstance(instruction, (list, tuple)) or not all(isinstance(item, str) for item in instruction):
        raise ConfigError(
            f"the instruction is {instruction!r}; it must be a text, or a list of sentences or class names."
        )
    if not 1 <= len(instruction) <= MAX_WORDS:
        raise ConfigError(f"the instruction is a list of {len(instruction)} items; it must have 1..{MAX_WORDS}.")
    return list(instruction)
