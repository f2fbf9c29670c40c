"""Words to drafts of requests: every clause is one frame of the lexicon, and the clauses must use up all the words.

The search keeps what it found at each position, so its cost grows with the number of words, not with the number of
ways to group them. Where two readings exist, the order of the lexicon decides; the longest noun phrase is tried first.
Whatever stops it is remembered by the furthest word it reached, which is the word that an error names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from .draft import Draft, Item, Phrase, Stop
from .frames import PREDICATE_FORMS, SET, Element, Words, compile_frame
from .lexicon import FRAMES, NOUNS, VERBS, phrases

__all__ = ["Grammar"]

NOT_AFTER: dict[str, tuple[Words, ...]] = {  # what makes these words mean something else than "except"
    "not": (("only",), ("just",), ("both",), ("all",), ("every",)),
    "but": (("only",), ("just",)),
    "no": (("the",), ("a",), ("an",), ("just",), ("only",)),
}
NO_NOUN: tuple[Words, ...] = ((), (",",), ("and",), ("then",), ("please",))  # after "both", where it is no article
MOST_HEADS = 8  # verbs or nouns that may share one noun phrase: more than there are tasks


class Grammar:
    """The reader of one instruction.

    Args:
        words: Its words in lower case; punctuation between them is ",".
        class_end: Gives the end of the class name at a position, or None.
    """

    frames: Sequence[tuple[str, str, tuple[str, ...]]] = FRAMES

    def __init__(self, words: Sequence[str], class_end: Callable[[int], int | None]) -> None:
        self.words = tuple(words)
        self.class_end = class_end
        self.stop = Stop()
        self.clause_starts: set[int] = set()
        self._task: str | None = None
        self._plans: dict[int, list[Draft] | None] = {}
        self._found_cores: dict[int, list[tuple[int, list[Draft]]]] = {}
        self._phrases: dict[int, tuple[list[tuple[int, Phrase]], Stop]] = {}

    def read(self) -> list[Draft] | None:
        """Give the drafts of all clauses in order, or None; then `stop` tells where it went wrong."""
        return self._plan(0)

    def _plan(self, start: int) -> list[Draft] | None:
        if start in self._plans:
            return self._plans[start]
        found: list[Draft] | None = None
        self.clause_starts.add(start)
        for end, drafts in self._clauses(start):
            if end == len(self.words):
                found = drafts
                break
            rest = next((r for e in self._connect(end, "THEN") if (r := self._plan(e)) is not None), None)
            if rest is not None:
                found = [*drafts, *rest]
                break
        self._plans[start] = found
        return found

    # Small words -----------------------------------------------------------------------------------------------------

    def _fail(self, position: int, expected: str) -> None:
        self.stop.note(position, (expected,), (self._task,))

    def _ends(self, position: int, choices: Iterable[Words]) -> list[int]:
        """The ends of those phrases that stand here, longest first."""
        return [position + len(c) for c in choices if self.words[position : position + len(c)] == c]

    def _comma(self, position: int) -> int:
        return position + 1 if self.words[position : position + 1] == (",",) else position

    def _connect(self, position: int, words: str) -> list[int]:
        """The ends of what joins two parts here: a comma, a word of the set, or both; longest first."""
        after = self._comma(position)
        ends = self._ends(after, SET[words]) + ([after] if after > position else [])
        if not ends:
            self._fail(position, "word")
        return ends

    def _repeat(self, position: int, words: str) -> list[int]:
        """The ends of any number of phrases of a set, commas allowed, the most first."""
        found, frontier = {position}, [position]
        while frontier:
            here = frontier.pop()
            for start in {here, self._comma(here)} if here > position or words == "TAIL" else {here}:
                for end in self._ends(start, SET[words]):
                    if end not in found:
                        found.add(end)
                        frontier.append(end)
        if words == "LEAD":
            found |= {self._comma(end) for end in found if end > position}
        return sorted(found, reverse=True)

    def _tails(self, position: int) -> list[int]:
        """The ends of what may close a clause: thanks, and where to look."""
        found, frontier = {position}, [position]
        while frontier:
            here = frontier.pop()
            for end in (*self._repeat(here, "TAIL"), *self._scope(here)):
                if end not in found:
                    found.add(end)
                    frontier.append(end)
        return sorted(found, reverse=True)

    def _determined(self, position: int) -> list[tuple[int, bool]]:
        """The places after any number of articles, with whether one of them says "one"."""
        found = {position: False}
        frontier = [position]
        while frontier:
            here = frontier.pop()
            for words, one in (("DET", False), ("ONE", True)):
                for end in self._ends(here, SET[words]):
                    if end not in found:
                        found[end] = found[here] or one
                        frontier.append(end)
        return sorted(found.items(), reverse=True)

    def _picture(self, position: int) -> list[int]:
        """The ends of "this photo", "the whole scene"."""
        found = []
        for start, _ in self._determined(position):
            for middle in [*self._ends(start, SET["WHOLE"]), start]:
                found += self._ends(middle, SET["IMAGE_NOUN"])
        return found

    def _scope(self, position: int) -> list[int]:
        """The ends of "in the picture"."""
        if self.words[position : position + 1] not in (("in",), ("of",), ("from",), ("within",)):
            return []
        ends = self._picture(position + 1)
        if not ends:
            self._fail(max(end for end, _ in self._determined(position + 1)), "word")
        return ends

    # Noun phrases ----------------------------------------------------------------------------------------------------

    def _item(self, position: int) -> list[tuple[int, Item]]:
        """Readings of one member of a list: a class before everything, the most articles first."""
        found = []
        for start, one in self._determined(position):
            if (end := self.class_end(start)) is not None:
                found.append((end, Item("class", start, end, one)))
            else:
                self._fail(start, "class")
            found += [(e, Item("all", start, e)) for e in self._ends(start, SET["OBJECTS"])] if start > position else []
        if position < len(self.words) and self.words[position] in {w for (w,) in SET["OBJECTS"]}:
            found.append((position + 1, Item("all", position, position + 1)))
        found += [(end, Item("all", position, end)) for end in self._picture(position)]
        for kind, words in (("else", "ELSE"), ("all", "EVERYTHING"), ("pronoun", "PRONOUN")):
            found += [(end, Item(kind, position, end)) for end in self._ends(position, SET[words])]
        both = [end for end in self._ends(position, SET["BOTH"]) if self.words[end : end + 1] in NO_NOUN]
        found += [(end, Item("pronoun", position, end)) for end in both]
        return found

    def _list(self, position: int) -> list[tuple[int, tuple[Item, ...]]]:
        """Lists of items that begin here, the longest first; two that end at one place count once."""
        found: dict[int, tuple[Item, ...]] = {}
        frontier: list[tuple[int, tuple[Item, ...]]] = [(position, ())]
        while frontier:
            here, items = frontier.pop()
            for start in [here] if not items else self._connect(here, "AND"):
                for end, item in self._item(start):
                    if end not in found:
                        found[end] = (*items, item)
                        frontier.append((end, found[end]))
        return sorted(found.items(), reverse=True)

    def _exclusions(self, position: int, from_all: bool) -> list[tuple[int, tuple[Item, ...]]]:
        """What is taken away here: "except the sky", "but not the cars or the buses".

        "Not only the cars" takes nothing away, "no the cats" corrects what was said, and after "the dogs, not the cats,
        and the people" nobody knows what the people are.
        """
        after = self._comma(position)
        starts = [*self._ends(after, (("but",), ("and",))), after]
        ends = [end for start in starts for end in self._ends(start, SET["REMOVE"])]
        if from_all:
            ends += self._ends(after, SET["REMOVE_FROM_ALL"])
        ends = [end for end in ends if self.words[end : end + 1] not in NOT_AFTER.get(self.words[end - 1], ())]
        found = [(end, items) for start in ends for end, items in self._list(start)]
        return [
            (end, items)
            for end, items in found
            if from_all or len(items) < 2 or self.words[items[0].end : items[0].end + 2] != (",", "and")
        ]

    def phrases(self, position: int) -> list[tuple[int, Phrase]]:
        """Noun phrases that begin here, the longest first."""
        if position not in self._phrases:
            outer, self.stop = self.stop, Stop()
            found: dict[int, Phrase] = {}
            frontier = [(end, Phrase(items)) for end, items in self._list(position)]
            while frontier:
                end, phrase = frontier.pop(0)
                if end in found:
                    continue
                found[end] = phrase
                from_all = any(item.kind == "all" for item in phrase.items)
                for further, items in self._exclusions(end, from_all):
                    frontier.append((further, replace(phrase, exclude=phrase.exclude + items)))
            self._phrases[position] = (sorted(found.items(), key=lambda pair: pair[0], reverse=True), self.stop)
            self.stop = outer
        readings, stop = self._phrases[position]
        self.stop.note(stop.position, stop.expected, {self._task})
        return readings

    # Clauses ---------------------------------------------------------------------------------------------------------

    def _clauses(self, start: int) -> Iterator[tuple[int, list[Draft]]]:
        """Readings of one clause, with everything polite around it."""
        for begin in self._repeat(start, "LEAD"):
            for end, drafts in self._cores(begin):
                yield from ((tail, drafts) for tail in self._tails(end))
            for opening in self._ends(begin, SET["BEFORE"]):
                for after, items in self._list(opening):
                    for middle in self._connect(after, "THEN"):
                        for end, drafts in self._cores(middle):
                            if all(draft.phrase is not None for draft in drafts):
                                fuller = [_without(draft, items) for draft in drafts]
                                yield from ((tail, fuller) for tail in self._tails(end))

    def _cores(self, start: int) -> list[tuple[int, list[Draft]]]:
        """Readings of a clause without what is polite around it, in the order of the lexicon."""
        if start not in self._found_cores:
            self.clause_starts.add(start)
            found = [*self._framed(start), *self._verbs(start), *self._nouns(start)]
            self._found_cores[start] = list({(end, tuple(drafts)): (end, drafts) for end, drafts in found}.values())
            self._task = None
        return self._found_cores[start]

    def _framed(self, start: int) -> Iterator[tuple[int, list[Draft]]]:
        for task, quantifier, frames in self.frames:
            self._task = task
            for frame in frames:
                for end, slots in self._match(compile_frame(frame), start, {}):
                    yield end, [_draft(task, quantifier, start, end, slots)]

    def _match(
        self, elements: tuple[Element, ...], position: int, slots: dict[str, Any]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Ways in which the elements stand from here on, with the value of each slot."""
        if not elements:
            yield position, slots
            return
        first, rest = elements[0], elements[1:]
        readings: Sequence[tuple[int, Any]]
        if first.slot:
            readings = self._slot(first.slot, position)
        else:
            readings = [(end, None) for end in self._ends(position, first.choices)]
        if not readings:
            self._fail(position, "word")
        for end, value in readings:
            yield from self._match(rest, end, {**slots, first.slot: value} if first.slot else slots)
        if first.is_optional:
            yield from self._match(rest, position, slots)

    def _slot(self, slot: str, position: int) -> Sequence[tuple[int, Any]]:
        """What can fill a slot here: its end and its value."""
        if slot == "NP":
            return self.phrases(position)
        if slot == "NAMED":
            kinds = ("class", "pronoun")
            return [
                (e, p) for e, p in self.phrases(position) if not p.exclude and all(i.kind in kinds for i in p.items)
            ]
        if slot == "SCOPE":
            return [(end, None) for end in self._scope(position)]
        if slot == "IMAGE":
            ends = self._ends(position, [*SET["POINTED_AT"], *SET["PRONOUN"]])
            return [(end, self.words[end - 1]) for end in [*self._picture(position), *ends]]
        if slot in PREDICATE_FORMS:
            forms = PREDICATE_FORMS[slot]
            return [(e, forms[self.words[position:e]]) for e in self._ends(position, forms)]
        return [(end, item) for end, item in self._item(position) if item.kind in ("class", "pronoun")]

    def _verbs(self, start: int) -> Iterator[tuple[int, list[Draft]]]:
        """ "segment the dog", "segment and count the cars", "segment"."""
        table = [(verb, task, quantifier) for task, quantifier, verbs in VERBS for verb in phrases(verbs)]
        for end, heads in self._heads(start, table):
            self._task = heads[0][0]
            for middle in [*self._ends(end, SET["PERSON"]), end]:
                for after, phrase in self.phrases(middle):
                    yield after, [Draft(task, quantifier, start, after, phrase) for task, quantifier in heads]
            bare = [Draft(task, quantifier, start, end, Phrase(), is_bare=True) for task, quantifier in heads]
            yield end, bare

    def _nouns(self, start: int) -> Iterator[tuple[int, list[Draft]]]:
        """ "the depth of the dog", "depth and segmentation", "its depth", "the dog's mask"."""
        table = [(noun, task, prepositions) for task, nouns, prepositions in NOUNS for noun in phrases(nouns)]
        for begin in dict.fromkeys([e for m in self._light(start) for e, _ in self._determined(m)]):
            for end, heads in self._heads(begin, table):
                self._task = heads[0][0]
                shared = set.intersection(*[set(prepositions.split()) for _, prepositions in heads])
                for middle in self._ends(end, [(word,) for word in shared]):
                    yield from self._about(heads, start, self.phrases(middle))
                if begin > start and self.words[begin - 1] in ("its", "their"):
                    yield from self._about(heads, start, [(end, Phrase((Item("pronoun", begin - 1, begin),)))])
                yield from self._about(heads, start, [(end, Phrase())])
        if "'s" in self.words[start:]:
            for middle in self._light(start):
                for owner_end, phrase in self.phrases(middle):
                    for end, heads in self._heads(owner_end + 1, table) if self._ends(owner_end, (("'s",),)) else ():
                        yield from self._about(heads, start, [(end, phrase)])

    def _light(self, start: int) -> list[int]:
        """The places after an optional "estimate", "what is", "find me"."""
        ends = self._ends(start, SET["LIGHT"])
        return [*[e for end in ends for e in self._ends(end, SET["PERSON"])], *ends, start]

    def _about(
        self, heads: list[tuple[str, str]], start: int, readings: Iterable[tuple[int, Phrase]]
    ) -> Iterator[tuple[int, list[Draft]]]:
        for end, phrase in readings:
            yield end, [Draft(task, "all", start, end, phrase) for task, _ in heads]

    def _heads(self, start: int, table: list[tuple[Words, str, str]]) -> list[tuple[int, list[tuple[str, str]]]]:
        """Lists of verbs or of nouns that begin here, the longest first, as the (task, extra) of each."""
        found: dict[int, list[tuple[str, str]]] = {}
        frontier: list[tuple[int, list[tuple[str, str]]]] = [(start, [])]
        while frontier:
            here, heads = frontier.pop()
            if len(heads) == MOST_HEADS:
                continue
            for begin in [here] if not heads else self._connect(here, "AND"):
                starts = [begin, *self._ends(begin, (("the",), ("a",), ("an",)))] if heads else [begin]
                ends = [(p + len(w), task, extra) for p in starts for w, task, extra in table if self._ends(p, (w,))]
                if not ends:
                    self._fail(begin, "word")
                for end, task, extra in ends:
                    if end not in found:
                        found[end] = [*heads, (task, extra)]
                        frontier.append((end, found[end]))
        return sorted(found.items(), key=lambda pair: pair[0], reverse=True)


def _draft(task: str, quantifier: str, start: int, end: int, slots: dict[str, Any]) -> Draft:
    return Draft(
        task,
        quantifier,
        start,
        end,
        phrase=slots.get("NP", slots.get("NAMED")),
        subject=slots.get("SUBJ"),
        predicate=next((slots[name] for name in PREDICATE_FORMS if name in slots), None),
        object=slots.get("OBJ"),
        is_relation="SUBJ" in slots or "OBJ" in slots,
        picture=slots.get("IMAGE"),
        flag=(slots["YES"], slots["NO"]) if "YES" in slots else None,
        away=slots.get("AWAY"),
    )


def _without(draft: Draft, items: tuple[Item, ...]) -> Draft:
    phrase = draft.phrase or Phrase()
    return replace(draft, phrase=replace(phrase, exclude=items + phrase.exclude))
