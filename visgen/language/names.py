"""Class names as English writes them: plurals, synonyms and joined words, looked up by the longest match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from .lexicon import NEVER_SINGULAR, PLURALS, RELATED, SYNONYMS, phrases

__all__ = ["ClassNames", "class_names", "closest", "own_class", "plural", "singular"]

PLACES = ("detection", "segmentation")  # tasks that say where a class is
PLACELESS = ("depth", "ood")  # tasks without classes of their own: they are read where those put a class
SINGULARS = {many: one for one, forms in PLURALS.items() for many in forms.split()}
GROUPS = tuple(phrases(line) for line in SYNONYMS)
LONG = 8  # letters from which two slips count as a misspelling; in shorter words they make another word

Words = tuple[str, ...]


def plural(word: str) -> tuple[str, ...]:
    """Give the plurals of an English noun, the usual one first."""
    if word in PLURALS:
        return tuple(PLURALS[word].split())
    if word in NEVER_SINGULAR:
        return (word,)
    if re.search(r"(s|x|z|ch|sh)$", word):
        return (word + "es",)
    if re.search(r"[^aeiou]y$", word):
        return (word[:-1] + "ies",)
    if re.search(r"[^aeiou]o$", word):
        return (word + "s", word + "es")
    return (word + "s",)


def singular(word: str) -> str:
    """Give the singular of an English noun; a word that is no plural comes back as it is."""
    if word in SINGULARS:
        return SINGULARS[word]
    if word in NEVER_SINGULAR or len(word) < 4 or re.search(r"(ss|us|is)$", word) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if re.search(r"(ss|x|zz|ch|sh)es$", word):
        return word[:-2]
    return word[:-1]


class ClassNames:
    """The class names of each task, and every way to write them.

    A class is found under its own name first, then its singular or plural, its words joined, and its synonyms. For
    depth and ood, which have no classes of their own, the classes that detection and segmentation can place are known.

    Args:
        vocabulary: Class names by task key.
    """

    def __init__(self, vocabulary: Mapping[str, Sequence[str]]) -> None:
        own = {task: _written(classes) for task, classes in vocabulary.items()}
        self._forms: dict[str, dict[Words, str]] = {
            task: {**{k: v for place in reversed(PLACES) for k, v in own.get(place, {}).items()}, **forms}
            if task in PLACELESS
            else forms
            for task, forms in own.items()
        }
        self._all: frozenset[Words] = frozenset(form for forms in own.values() for form in forms)
        self._longest = max(map(len, self._all), default=0)

    def match(self, words: Sequence[str], start: int) -> int | None:
        """Give the end of the longest class name, of any task, that begins at `start`; None when there is none.

        A hyphen in a word counts as a space, but a name never ends inside a word.
        """
        parts: Words = ()
        best: int | None = None
        for end in range(start, len(words)):
            more = parts_of(words[end])
            parts += more
            if not more or len(parts) > self._longest:
                break
            if parts in self._all:
                best = end + 1
        return best

    def find(self, task: str, words: Sequence[str]) -> str | None:
        """Give the class of `task` that these words name; None when it knows none."""
        return self._forms.get(task, {}).get(tuple(part for word in words for part in parts_of(word)))

    def tasks_that_know(self, words: Sequence[str]) -> list[str]:
        """Give the tasks with classes of their own, in the order of the vocabulary, that know these words."""
        return [task for task in self._forms if task not in PLACELESS and self.find(task, words) is not None]

    def misspelt(self, words: Sequence[str]) -> str | None:
        """Give the known class name that these words, taken together, misspell; None when there is none."""
        return closest(" ".join(words), (" ".join(form) for form in self._all))

    def suggest(self, words: Sequence[str], task: str | None = None) -> str:
        """Give "; did you mean 'x'?" for a related or similarly written class, or "".

        Args:
            words: The instruction from the unknown word on; a class name may take several of them.
            task: Suggest classes of this task only.
        """
        known = set(self._forms.get(task, {})) if task else self._all
        near = RELATED.get(singular(words[0])) or RELATED.get(words[0]) or ""
        related = [name for entry in near.split() if tuple((name := entry.replace("_", " ")).split()) in known]
        if related:
            return f"; did you mean {' or '.join(repr(name) for name in related)}?"
        written = [" ".join(form) for form in known]
        spans = [" ".join(words[:count]) for count in range(min(3, len(words)), 0, -1)]
        likely = next((found for span in spans if (found := closest(span, written))), None)
        return f"; did you mean '{likely}'?" if likely else ""


@lru_cache(maxsize=32)
def class_names(vocabulary: tuple[tuple[str, tuple[str, ...]], ...]) -> ClassNames:
    """Give the `ClassNames` of a vocabulary; the last few are kept."""
    return ClassNames(dict(vocabulary))


def own_class(name: str, classes: Sequence[str]) -> str | None:
    """Give the class among `classes` that `name` means, also under another spelling, number or synonym; else None."""
    return name if name in classes else class_names((("", tuple(classes)),)).find("", [name])


def closest(word: str, known: Iterable[str]) -> str | None:
    """Give the known name that `word` misspells, or None.

    A misspelling is one letter too few, too many, wrong, or swapped with its neighbour; from `LONG` letters on, two.
    """
    allowed = 0 if len(word) < 3 else 1 if len(word) < LONG else 2
    near = [(slips, name) for name in known if 0 < (slips := _slips(word, name, allowed)) <= allowed]
    return min(near)[1] if near else None


def _slips(a: str, b: str, limit: int) -> int:
    """The edit distance with swaps of neighbours (Damerau 1964, each letter edited once); above `limit` any number."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, before, row = before, row, [i]
        for j, other in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and other == a[i - 2]:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]


def parts_of(word: str) -> Words:
    """Split a name or word at spaces, hyphens and underscores, in lower case."""
    return tuple(part for part in re.split(r"[\W_]+", word.casefold().replace("'", "")) if part)


def _written(classes: Sequence[str]) -> dict[Words, str]:
    """Every written form of these classes; an earlier rule, then an earlier class, wins."""
    names: dict[Words, str] = {}
    for name in classes:
        for written in (name, re.sub("[&+]", " and ", name)):  # as sentences are read
            if parts := parts_of(written):
                names.setdefault(parts, name)
    forms = dict(names)
    for rule in (_numbers, _joined, _synonyms):
        for parts, name in names.items():
            for form in rule(parts):
                forms.setdefault(form, name)
    return forms


def _numbers(parts: Words) -> list[Words]:
    """The singular and the plurals of a name, whichever number it is in."""
    one = singular(parts[-1])
    return [(*parts[:-1], form) for form in (one, *plural(one))]


def _joined(parts: Words) -> list[Words]:
    """A name of several words written as one: "hotdog"."""
    return [("".join(form),) for form in [parts, *_numbers(parts)]] if len(parts) > 1 else []


def _synonyms(parts: Words) -> list[Words]:
    """Both numbers of every synonym."""
    groups = [group for form in (parts, *_numbers(parts)) for group in GROUPS if form in group]
    return [form for group in groups for synonym in group for form in (synonym, *_numbers(synonym))]
