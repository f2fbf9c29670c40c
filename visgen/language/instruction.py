"""An instruction in any of its forms - a sentence, a list of sentences, a list of class names - to its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError, UnknownName
from .frames import SET
from .names import PLACES, ClassNames, class_names, singular
from .parser import MAX_WORDS, normalise, parse
from .request import TaskRequest
from .resolver import WORLD
from .world import OpenWorld, open_noun_end

__all__ = ["read_instruction"]


def read_instruction(
    instruction: str | Sequence[str],
    vocabulary: Mapping[str, Sequence[str]],
    predicates: Sequence[str] | None = None,
    tasks: Sequence[str] = (),
    world: OpenWorld | None = None,
) -> list[TaskRequest]:
    """Give the requests of an instruction.

    Args:
        instruction: One or more sentences in one text; or a list, each item of which stands on its own and is a
            sentence or a class name ("it" does not reach back into another item). The class names of a list are one
            request together: `["cars", "people"]` is "find the cars and the people".
        vocabulary, predicates, world: As in `parse`.
        tasks: What class names without a verb are asked of; when empty, detection, or segmentation in a model
            without detection.
    Returns:
        At least one request; the class names of a list come first, then its sentences in order.
    Raises:
        ConfigError: It is neither a text nor a list of texts, or the list is empty or too long.
        UnknownName: A sentence is not understood (see `parse`), or no task of `tasks` knows a class name.
    """
    if isinstance(instruction, str):
        return parse(instruction, vocabulary, predicates, world)
    items = _items(instruction)
    named: dict[str, tuple[str, ...]] = {}
    sentences: list[TaskRequest] = []
    known = tuple((task, tuple(classes)) for task, classes in vocabulary.items())
    names = class_names(known if world is None else (*known, (WORLD, world.classes)))
    is_open = False  # a name that no head knows stands among those of the list
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
            opened = _opened(words, names, world)
            if opened is None and (not words or names.match(words, 0) != len(words)):
                sentences += [r for r in parse(item, vocabulary, predicates, world) if r not in sentences]
                continue
            able = {task: name for task in asked if (name := names.find(task, words)) is not None}
            if not able and opened is not None:
                able, is_open = dict.fromkeys(asked, opened), True
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
    listed = [TaskRequest(task, classes, raw=raw, open_vocabulary=is_open) for task, classes in named.items()]
    return [*listed, *sentences]


def _opened(words: Sequence[str], names: ClassNames, world: OpenWorld | None) -> str | None:
    """The class that these words are for a model which reads words itself; None when they are none."""
    if world is None or not words:
        return None
    if world.any_noun and open_noun_end(words, 0, names) == len(words):
        return " ".join([*words[:-1], singular(words[-1])])
    return names.find(WORLD, words)


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
