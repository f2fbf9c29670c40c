"""The frames of the lexicon, read once into elements that `grammar` can match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .lexicon import POSTURES, PREDICATES, SETS, TRANSITIVE, phrases
from .wide_lexicon import WIDE_SETS

__all__ = ["PREDICATE_FORMS", "SET", "Element", "Words", "compile_frame", "own_predicate"]

Words = tuple[str, ...]


@dataclass(frozen=True)
class Element:
    """One element of a frame: a slot, or phrases of which one must stand here."""

    slot: str
    choices: tuple[Words, ...]
    is_optional: bool


SLOTS = ("NP", "NAMED", "IMAGE", "SCOPE", "SUBJ", "OBJ", "PRED", "PRED_S", "PRED_BASE", "YES", "NO", "AWAY")
SET = {name: phrases(text) for name, text in {**SETS, **WIDE_SETS}.items()}


def _postures(column: int) -> dict[Words, str]:
    """ "stands next to": the posture with the place, where that is a relation of its own, else the place alone."""
    found: dict[Words, str] = {}
    for forms in POSTURES:
        for place, others in PREDICATES.items():
            if place.split()[0] in VERBAL:
                continue
            meant = f"{forms[0]} {place}" if f"{forms[0]} {place}" in PREDICATES else place
            for form in (tuple(place.split()), *phrases(others)):
                found[(forms[column], *form)] = meant
    return found


VERBAL = {name.split()[0] for name in PREDICATES if name.split()[0].endswith(("ing", "ed"))}
PREDICATE_FORMS: dict[str, dict[Words, str]] = {
    "PRED": {
        **_postures(0),
        **{form: name for name, text in PREDICATES.items() for form in (tuple(name.split()), *phrases(text))},
        **{(name,): name for name, _, _ in TRANSITIVE},
    },
    "PRED_BASE": {**_postures(1), **{(base,): name for name, base, _ in TRANSITIVE}},
    "PRED_S": {**_postures(2), **{(third,): name for name, _, third in TRANSITIVE}},
}
"""The words of each predicate to its name: as "riding" and "on top of", as "ride", as "rides"."""


@cache
def compile_frame(text: str) -> tuple[Element, ...]:
    """Read one frame of the lexicon."""
    elements = []
    for entry in text.split():
        bare = entry.removesuffix("?")
        if bare in SLOTS:
            elements.append(Element(bare, (), entry != bare))
            continue
        options = [SET.get(option, phrases(option)) for option in bare.split("|")]
        choices = sorted((phrase for option in options for phrase in option), key=len, reverse=True)
        elements.append(Element("", tuple(choices), entry != bare))
    return tuple(elements)


def own_predicate(name: str, predicates: Sequence[str]) -> str | None:
    """Give the predicate of a model that the lexicon calls `name`, in whichever form the model writes it, or None.

    The lexicon's "overlapping" is a model's "overlaps", its "in" a model's "inside".
    """
    forms = {words for table in PREDICATE_FORMS.values() for words, meant in table.items() if meant == name}
    own = [predicate for predicate in predicates if tuple(predicate.replace("_", " ").split()) in forms]
    return name if name in predicates else own[0] if own else None
