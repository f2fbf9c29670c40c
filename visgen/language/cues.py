"""Phrasings that no frame foresees, read word by word: every word must have its place, and one task must remain.

This is tried only after the grammar has failed. A sentence passes when it holds cues of exactly one task, one unbroken
list of known classes (or none, where the whole picture is meant), and otherwise nothing but words without a meaning of
their own. One word that is neither, a negation, a place or a second thing refuses it, so that nothing is guessed; so do
words that have a meaning together (`ANOTHER_MEANING`) and a request in a clause of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .another_meaning import ANOTHER_MEANING
from .draft import Draft, Item, Phrase
from .frames import SET, Words
from .lexicon import VERBS, phrases
from .wide_lexicon import AFTER_CUE, BEFORE_ODD, CUES, GLUE

__all__ = ["holds_cue_alone", "read_cues"]

WEAK = ("find", "spot", "list", "look_for", "mark", "select")  # verbs that also say "let me see" around another cue
CUE_FORMS: dict[Words, str] = {
    **{form: task if quantifier == "all" else "count" for task, quantifier, text in VERBS for form in phrases(text)},
    **{form: task for task, text in CUES.items() for form in phrases(text)},
}
WEAK_FORMS = {form for word in WEAK for form in phrases(word)}
GLUE_FORMS = frozenset(phrases(GLUE))
LONGEST = max(map(len, (*CUE_FORMS, *GLUE_FORMS)))
IMAGE_NOUNS = {word for (word,) in SET["IMAGE_NOUN"]}
WHOLE = ("depth", "ood")  # tasks that may be about the whole picture
ARTICLES = f"(?:(?:{'|'.join(map(' '.join, SET['DET']))}) )*"
ELSEWHERE = re.compile("|".join(f"(?:^| ){form} " for form in ANOTHER_MEANING).replace("THE", ARTICLES))
BOUNDS = {",", "and", "then"}  # between two clauses


def read_cues(words: Sequence[str], class_end: Callable[[int], int | None]) -> list[Draft] | None:
    """Give the only request that these words can mean, or None.

    Args:
        words: As `parser.normalise` gives them.
        class_end: Gives the end of the known class name at a position, or None.
    """
    reader = _Reader(tuple(words), class_end)
    return reader.draft() if reader.scan() else None


def holds_cue_alone(words: Sequence[str], class_end: Callable[[int], int | None]) -> bool:
    """Whether a sentence has a cue, no class, and otherwise only words without a meaning: "show me where"."""
    reader = _Reader(tuple(words), class_end)
    return reader.scan() and bool(reader.tasks) and not reader.items


class _Reader:
    def __init__(self, words: Words, class_end: Callable[[int], int | None]) -> None:
        self.words, self.class_end = words, class_end
        self.items: list[Item] = []
        self.excluded: list[Item] = []
        self.tasks: dict[str, list[int]] = {}  # where the cues of each stand
        self.weak: dict[str, list[int]] = {}
        self.has_or = False
        self.last_cue: str | None = None  # the task of the cue that ends at this word

    def scan(self) -> bool:
        """Give every word its place; False when one has none."""
        here = 0
        while here < len(self.words):
            after = self._class(here) or self._exclusion(here) or self._cue(here) or self._glue(here)
            if after is None:
                return False
            here = after
        return True

    def draft(self) -> list[Draft] | None:
        """The request of what was found; None unless it is the only one."""
        tasks = self.tasks or self.weak
        named = [item for item in self.items if item.kind == "class"]
        if not self.tasks and not self.excluded and len(named) > 1 and self.has_or:
            tasks = {"classification": []}  # "a cat or a dog?"
        if len(tasks) != 1 or self._means_another() or self._has_two_clauses():
            return None
        (task,) = tasks
        if (task not in WHOLE and not self.items) or (task == "classification" and not named):
            return None
        whole = not self.items and not self.excluded
        phrase = Phrase() if whole else Phrase(tuple(self.items), tuple(self.excluded))
        quantifier = "count" if task == "count" else "all"
        return [Draft("detection" if task == "count" else task, quantifier, 0, len(self.words), phrase)]

    def _means_another(self) -> bool:
        """Whether the words around the classes turn the sentence into one that no cue is about."""
        start, end = self._span()
        said = [*self.words[:start], *(["CLASS"] if end else []), *self.words[end:]]
        return ELSEWHERE.search(f" {' '.join(said)} ") is not None

    def _has_two_clauses(self) -> bool:
        """Whether a weak verb of another task has no cue in its own clause: "find the dog, then outline it"."""
        start, end = self._span()
        bounds = [k for k, word in enumerate(self.words) if word in BOUNDS and not start <= k < end]
        cues = [sum(bound < k for bound in bounds) for places in self.tasks.values() for k in places]
        weak = [
            sum(bound < k for bound in bounds) for task in self.weak.keys() - self.tasks.keys() for k in self.weak[task]
        ]
        return bool(cues) and not set(weak) <= set(cues)

    def _span(self) -> tuple[int, int]:
        """Where the list of classes stands; (0, 0) without one."""
        named = [item for item in self.items if item.kind == "class"]
        return (named[0].start, named[-1].end) if named else (0, 0)

    def _class(self, here: int) -> int | None:
        """One list of classes; a class before "photo" belongs to the picture."""
        end = self.class_end(here)
        if end is None:
            return None
        if self.words[end : end + 1] and self.words[end] in IMAGE_NOUNS:
            return end + 1
        if self.items:  # a second list is a second thing
            return None
        end, found, self.has_or = self._list(here)
        self.items += found
        self.last_cue = None
        return end

    def _list(self, here: int) -> tuple[int, list[Item], bool]:
        found: list[Item] = []
        end, has_or = here, False
        while (stop := self.class_end(here)) is not None:
            found.append(Item("class", here, stop))
            end = here = stop
            joins = 0
            while here < len(self.words) and self.words[here] in (",", "and", "or"):
                has_or |= self.words[here] == "or" and self.class_end(self._past_article(here + 1)) is not None
                here, joins = here + 1, joins + 1
            here = self._past_article(here)
            if not joins:
                break
        return end, found, has_or

    def _past_article(self, here: int) -> int:
        return here + 1 if self.words[here : here + 1] in (("the",), ("a",), ("an",)) else here

    def _exclusion(self, here: int) -> int | None:
        """ "everything but the sky"."""
        for start in [here + len(w) for w in SET["EVERYTHING"] if self.words[here : here + len(w)] == w]:
            for form in (*SET["REMOVE_FROM_ALL"], *SET["REMOVE"]):
                if self.words[start : start + len(form)] == form and not self.items:
                    end, found, _ = self._list(self._past_article(start + len(form)))
                    if found:
                        self.items = [Item("all", here, start)]
                        self.excluded = found
                        return end
        return None

    def _cue(self, here: int) -> int | None:
        for size in range(min(LONGEST, len(self.words) - here), 0, -1):
            form = self.words[here : here + size]
            if form in CUE_FORMS:
                task = CUE_FORMS[form]
                (self.weak if form in WEAK_FORMS else self.tasks).setdefault(task, []).append(here)
                self.last_cue = task
                return here + size
        return None

    def _glue(self, here: int) -> int | None:
        word = self.words[here]
        last, self.last_cue = self.last_cue, None
        if last is not None and word in AFTER_CUE.get(last, ()):
            return here + 1
        if word in BEFORE_ODD and CUE_FORMS.get(self.words[here + 1 : here + 2]) == "ood":
            return here + 1
        if word == ",":
            return here + 1
        for size in range(min(LONGEST, len(self.words) - here), 0, -1):
            if self.words[here : here + size] in GLUE_FORMS:
                return here + size
        return None
