"""What the grammar finds before words become class names: places of words, and where the reading stopped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

__all__ = ["Draft", "Item", "Phrase", "Stop"]


@dataclass(frozen=True)
class Item:
    """One member of a list: words[start:end] name a class, everything, a pronoun's meaning, or the rest.

    Args:
        kind: "class", "all", "pronoun" or "else".
        start, end: Where its words stand, without articles.
        one: A single instance was asked for.
        attributes: Words before the class that narrow it down.
    """

    kind: str
    start: int
    end: int
    one: bool = False
    attributes: tuple[str, ...] = ()

    def moved(self, by: int) -> Item:
        """The item of a text that so many words stand before."""
        return replace(self, start=self.start + by, end=self.end + by)


@dataclass(frozen=True)
class Phrase:
    """A list of items, and the items taken away from it."""

    items: tuple[Item, ...] = ()
    exclude: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Draft:
    """A request whose words have places but no class names yet.

    Args:
        task, quantifier: As in `TaskRequest`.
        start, end: Where the clause stands.
        phrase: What it is about; None when the frame has no room for that.
        subject, predicate, object: The parts of a relation; `is_relation` says that the frame asks for one.
        picture: The word that stands for the picture ("this", "it", "photo"), when the frame has one.
        is_bare: A verb without its object, as "segment" alone.
        colours: The colour of each item of the phrase, in order, where the answer shall have colours.
        flag: The colours of yes and no.
        away: "far" or "near", where the phrase is narrowed down by its distance.
    """

    task: str
    quantifier: str
    start: int
    end: int
    phrase: Phrase | None = None
    subject: Item | None = None
    predicate: str | None = None
    object: Item | None = None
    is_relation: bool = False
    picture: str | None = None
    is_bare: bool = False
    colours: tuple[str, ...] = ()
    flag: tuple[str, str] | None = None
    away: str | None = None

    def moved(self, by: int) -> Draft:
        """The draft of a text that so many words stand before."""
        lists = [
            tuple(i.moved(by) for i in own) for own in ((self.phrase.items, self.phrase.exclude) if self.phrase else ())
        ]
        return replace(
            self,
            start=self.start + by,
            end=self.end + by,
            phrase=Phrase(*lists) if lists else None,
            subject=self.subject and self.subject.moved(by),
            object=self.object and self.object.moved(by),
        )


@dataclass
class Stop:
    """The furthest word that fits nothing, what would have fitted there ("class", "word"), and for which tasks."""

    position: int = -1
    expected: set[str] = field(default_factory=set)
    tasks: set[str | None] = field(default_factory=set)

    def note(self, position: int, expected: Iterable[str], tasks: Iterable[str | None]) -> None:
        """Take in one more failure."""
        if position > self.position:
            self.position, self.expected, self.tasks = position, set(), set()
        if position == self.position:
            self.expected.update(expected)
            self.tasks.update(tasks)
