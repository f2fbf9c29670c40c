"""The grammar of a model that reads words itself: attributes before nouns, colours of the answer, choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .draft import Draft, Item, Phrase
from .frames import SET, Words
from .grammar import Grammar
from .lexicon import FRAMES, phrases
from .names import singular
from .wide_lexicon import ATTRIBUTES, AWAY, COLOUR_WORDS, PAINT, PAINT_IN, WIDE_FRAMES

__all__ = ["WideGrammar"]

REST_BLACK: tuple[Words, ...] = (
    ("everything", "else", "black"),
    ("everything", "else", "in", "black"),
    ("the", "rest", "black"),
    ("and", "everything", "else", "black"),
    ("and", "the", "rest", "black"),
    ("on", "black"),
)


class WideGrammar(Grammar):
    """As `Grammar`, with the frames of `wide_lexicon` before those of `lexicon`.

    Args:
        words, class_end: As in `Grammar`; `class_end` may also end nouns that no table knows.
        is_open: Whether the words from a position to an end are such a noun.
    """

    frames = (*WIDE_FRAMES, *FRAMES)

    def __init__(
        self,
        words: Sequence[str],
        class_end: Callable[[int], int | None],
        is_open: Callable[[int, int], bool] = lambda start, end: False,
    ) -> None:
        super().__init__(words, class_end)
        self.is_open = is_open

    def _item(self, position: int) -> list[tuple[int, Item]]:
        found = []
        for start, one in self._determined(position):
            here = start
            while here < len(self.words) and self.words[here] in ATTRIBUTES:
                here += 1
                if (end := self.class_end(here)) is not None:
                    found.append((end, Item("class", here, end, one, self.words[start:here])))
            if here > start and not found:
                self._fail(here, "class")
        return [*found, *super()._item(position)]

    def _list(self, position: int) -> list[tuple[int, tuple[Item, ...]]]:
        return [(end, items) for end, items in super()._list(position) if self._is_plausible(items)]

    def _is_plausible(self, items: Sequence[Item]) -> bool:
        """Refuse "the dog and run": after a noun with an article, an unknown one needs an article or a plural too."""
        bare = [self._is_bare(item) for item in items]
        return bare[0] or not any(
            is_bare and self.is_open(item.start, item.end) and not self.words[item.end - 1].endswith("s")
            for is_bare, item in zip(bare, items, strict=True)
        )

    def _is_bare(self, item: Item) -> bool:
        before = item.start - len(item.attributes)
        return not any(
            self.words[before - len(d) : before] == d for d in (*SET["DET"], *SET["ONE"]) if len(d) <= before
        )

    def _slot(self, slot: str, position: int) -> Sequence[tuple[int, Any]]:
        if slot in ("YES", "NO"):
            return self._colour(position)
        if slot == "AWAY":
            return [(e, AWAY[self.words[position:e]]) for e in self._ends(position, AWAY)]
        readings = super()._slot(slot, position)
        if slot == "OBJ" and position > 0 and self.words[position - 1] in ("in", "of"):
            pictures = {word for (word,) in SET["IMAGE_NOUN"]}  # "in the picture" is no place in a relation
            return [(end, item) for end, item in readings if self.words[end - 1] not in pictures]
        return readings

    def _cores(self, start: int) -> list[tuple[int, list[Draft]]]:
        if start not in self._found_cores:
            painted = list(self._paints(start))
            self._found_cores[start] = [*painted, *super()._cores(start)]
        return self._found_cores[start]

    def _colour(self, position: int) -> list[tuple[int, str]]:
        if self.words[position : position + 1] and self.words[position] in COLOUR_WORDS:
            return [(position + 1, self.words[position])]
        self._fail(position, "colour")
        return []

    def _paints(self, start: int) -> Iterator[tuple[int, list[Draft]]]:
        """ "paint the dog red and the cat blue, everything else black", "mask the dog in red"."""
        self._task = "segmentation"
        for end, needs_in in self._painters(start):
            for after, items, colours in self._pairs(end, needs_in, start):
                draft = Draft("segmentation", "all", start, after, Phrase(items), colours=colours)
                rest = self._comma(after)
                yield from ((e, [draft]) for e in [*self._ends(rest, REST_BLACK), after])

    def _painters(self, start: int) -> list[tuple[int, bool]]:
        """The ends of verbs that take a colour here, and whether they need "in" before it."""
        plain = [(end, False) for end in self._ends(start, phrases(PAINT))]
        return [*plain, *((end, True) for end in self._ends(start, phrases(PAINT_IN)) if (end, False) not in plain)]

    def _narrow_otherwise(self, items: Sequence[Item], more: Sequence[Item]) -> bool:
        """Whether a noun has other attributes in each, as in "paint the red dog blue. paint the big dog green"."""
        nouns = [(singular(" ".join(self.words[i.start : i.end])), i.attributes) for i in (*items, *more)]
        first, second = nouns[: len(items)], nouns[len(items) :]
        return any(noun == other and own != its for noun, own in first for other, its in second)

    def _pairs(
        self, position: int, needs_in: bool, verb: int
    ) -> Iterator[tuple[int, tuple[Item, ...], tuple[str, ...]]]:
        """Lists of what is painted with its colour, the longest first."""
        for after, items in self._list(position):
            if any(item.kind == "else" for item in items):
                continue
            joined = self._ends(after, (("in",), ("with",)))
            for begin in [*joined, *([] if needs_in else [after])]:
                for end, colour in self._colour(begin):
                    one = (items, (colour,) * len(items))
                    for middle in self._connect(end, "AND"):
                        again = [e for e, _ in self._painters(middle)]
                        for further in [*again, middle]:
                            for last, more, colours in self._pairs(further, needs_in, verb):
                                if further == middle or not self._narrow_otherwise(items, more):
                                    yield last, one[0] + more, one[1] + colours
                    yield end, *one
