"""Why an instruction is refused: the word that stopped the reading, the rule it breaks, and what could stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .frames import SET
from .grammar import Grammar
from .lexicon import BEGINNINGS, EXAMPLES, RELATED
from .names import ClassNames, closest, singular
from .wide_lexicon import COLOURS
from .world import RESERVED

__all__ = ["listed", "missing_task", "offers", "refusal"]

ASKING = {"detection": "find", "segmentation": "segment", "classification": "is there any"}  # what asks about a class
NO_TASK = {word for name in ("LEAD", "LIGHT", "DET", "PERSON") for form in SET[name] for word in form} - {"kind"}


def refusal(words: list[str], grammar: Grammar, names: ClassNames, vocabulary: Mapping[str, Sequence[str]]) -> str:
    """Say which word stopped the reading, the rule it breaks, and what could stand there."""
    stop = grammar.stop
    before = " ".join(words[: stop.position]).replace(" ,", ",")
    is_painted = "colour" in stop.expected
    if stop.position >= len(words):
        if is_painted:
            return f"'{before}' names no colour; a picture keeps {listed(COLOURS)} apart."
        return (
            f"the instruction ends after '{words[-1]}', before it is complete; name a task and a class, "
            f"as in {offers(vocabulary)}."
        )
    word = words[stop.position]
    wanted = {task for task in stop.tasks if task is not None}
    if wanted and not wanted & set(vocabulary):
        return missing_task(f"{before} {word}".strip(), " or ".join(sorted(wanted)), vocabulary)
    is_class = names.match(words, stop.position) is not None
    is_known = word in RESERVED and singular(word) not in RELATED  # such a word is no misspelling of a class
    hint = names.suggest(words[stop.position :]) if "class" in stop.expected and not (is_class or is_known) else ""
    span = words[stop.position : names.match(words, stop.position)] if is_class else []
    asking = next((asks for task, asks in ASKING.items() if names.find(task, span) is not None), None)
    if asking and set(words[: stop.position]) <= NO_TASK:
        name = " ".join(span)
        return f"'{name}' names no task; write '{asking} {name}', or begin as in {offers(vocabulary)}."
    if stop.position in grammar.clause_starts:
        verb = None if is_class or word in RESERVED else closest(word, BEGINNINGS)
        hint = hint or (f"; did you mean '{verb}'?" if verb else ".")
        return f"'{word}' names no task{hint} Begin with a task, as in {offers(vocabulary)}."
    if is_painted:
        meant = closest(word, COLOURS)
        hint = f"; did you mean '{meant}'?" if meant else "."
        return f"'{word}' in '{before} {word}' is no colour{hint} A picture keeps {listed(COLOURS)} apart."
    if word in ("no", "not"):
        return f"'{word}' does not fit after '{before}'; to leave something out, write 'everything except the ...'."
    if "class" in stop.expected and not is_class:
        return (
            f"'{word}' in '{before} {word}' is no class that the model knows{hint or '.'} Use its class names; places, "
            "colours, numbers and comparisons are not understood yet."
        )
    first = words[0]
    meant = None if first in RESERVED or names.match(words, 0) is not None else closest(first, BEGINNINGS)
    if meant:
        return f"'{first}' names no task; did you mean '{meant}'? Begin with a task, as in {offers(vocabulary)}."
    return (
        f"'{word}' does not fit after '{before}'; places, colours, numbers and comparisons are not understood yet. "
        f"Known: {offers(vocabulary)}."
    )


def missing_task(asked: str, task: str, vocabulary: Mapping[str, Sequence[str]]) -> str:
    has = f"it has {listed(vocabulary)}, as in {offers(vocabulary)}"
    return f"'{asked}' asks for {task}, which this model does not have; {has}."


def listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names)


def offers(vocabulary: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"'{sentence}'" for task, sentence in EXAMPLES.items() if task in vocabulary)
