"""What a model that reads instructions itself can be asked, beyond the classes of the heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .lexicon import FRAMES, NOUNS, POSTURES, PREDICATES, SETS, TRANSITIVE, VERBS, phrases
from .names import ClassNames
from .phrase_table import FRAMES as PHRASE_FRAMES
from .wide_lexicon import ADJECTIVES, ATTRIBUTES, CUES, WIDE_FRAMES, WIDE_SETS

__all__ = ["OpenWorld", "open_noun_end"]

MOST_NOUN_WORDS = 3  # "fire hydrant", "red traffic cone"
NO_NOUN = ("ly", "ful", "less", "ous")  # endings that make adverbs and adjectives, hardly ever nouns


@dataclass(frozen=True)
class OpenWorld:
    """The classes and words that such a model understands.

    With one, `parse` also reads colours ("paint the dog red"), attributes ("the red car"), choices ("which of these is
    it: ...") and relations inside a sentence ("find the dog on the couch").

    Args:
        classes: Classes that it was taught, whether or not a head knows them.
        predicates: Relations that it was taught; None for any.
        any_noun: It may be asked for any noun at all, as a model with a large text encoder may. A noun that looks like
            a misspelling of a known class is refused all the same.
    """

    classes: tuple[str, ...] = ()
    predicates: tuple[str, ...] | None = None
    any_noun: bool = False


def _reserved() -> frozenset[str]:
    tables = [*SETS.values(), *WIDE_SETS.values(), *PREDICATES, *PREDICATES.values(), *CUES.values(), ADJECTIVES]
    words = {word for text in tables for phrase in phrases(text) for word in phrase}
    entries = [entry for _, _, frames in (*FRAMES, *WIDE_FRAMES) for frame in frames for entry in frame.split()]
    words |= {w for e in entries for o in e.strip("?").split("|") for w in o.split("_") if w.islower()}
    words |= {word for *_, text in VERBS for phrase in phrases(text) for word in phrase}
    words |= {word for _, text, _ in NOUNS for phrase in phrases(text) for word in phrase}
    words |= {word for forms in (*TRANSITIVE, *POSTURES) for word in forms}
    said = [word for frames in PHRASE_FRAMES.values() for frame in frames for word in frame.split()]
    words |= {word.strip(",?:!.") for word in said if "{" not in word}
    return frozenset(words | ATTRIBUTES | {",", "'s"})


RESERVED = _reserved()
"""Words with a meaning of their own: no noun that the lexicon does not know begins with, holds or ends with one."""


def open_noun_end(words: Sequence[str], start: int, names: ClassNames) -> int | None:
    """The end of a noun phrase of words that no table knows, or None.

    It has at most three words, holds no known class ("dog quickly" is no noun), and does not end like an adverb.
    """
    end = start
    while (
        end < len(words)
        and end - start < MOST_NOUN_WORDS
        and _may_be_noun(words[end])
        and names.match(words, end) is None
    ):
        end += 1
    if end > start and _ends_no_noun(words[end - 1]):
        return None
    return end if end > start else None


def _may_be_noun(word: str) -> bool:
    return word not in RESERVED and len(word) > 1 and word.replace("-", "").isalpha()


def _ends_no_noun(word: str) -> bool:
    return word.endswith(NO_NOUN) or (len(word) > 5 and word.endswith(("ing", "ed")))
