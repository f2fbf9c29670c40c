"""Drafts to requests: class names, colours and relations of the model in place of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import UnknownName
from .draft import Draft, Item, Phrase
from .frames import SET, own_predicate
from .names import PLACES, ClassNames, singular
from .refusal import listed, missing_task
from .request import TaskRequest
from .wide_lexicon import COLOURS
from .world import OpenWorld

__all__ = ["WORLD", "Resolver"]

WORLD = "in the open world"
"""The key, in a vocabulary, of the classes that only a model which reads words itself knows."""

_NO_OTHER = {"only", "exactly", "just", "single"}
_SO_MANY = {"all", "every", "each", "only", "just", "nothing"}  # before a class in a question: for how many it holds
_YES_NO = {"is", "are", "do", "does", "if", "whether"}
_DEFINITE = {"the", "this", "that", "these", "those", "my", "your", "his", "her", "our", "their", "its", "all"}
_JOINS = {",", "and", "or", "also", "please"}
_ASKS = {"me", "us", "know", "tell", "say", "wonder", "wondering", "idea"}  # "if" after them is "whether"
_RELATING = {"related", "relate", "connected", "between", "among"}
_ARTICLES = {word for name in ("DET", "ONE") for form in SET[name] for word in form}


class Resolver:
    """Puts class names into drafts, one after the other, since "it" means what came before."""

    def __init__(
        self,
        text: str,
        words: list[str],
        names: ClassNames,
        vocabulary: Mapping[str, Sequence[str]],
        predicates: Sequence[str] | None,
        world: OpenWorld | None = None,
    ) -> None:
        self.text, self.words, self.names, self.vocabulary = text, words, names, vocabulary
        self.predicates = predicates
        self.world = world
        self.is_open = False  # the request at hand holds something that no head knows
        self.before: Phrase | None = None  # what "it" means; None at first and after a question to the graph
        self.has_request = False

    def requests(self, drafts: Sequence[Draft]) -> list[TaskRequest]:
        """Give one request per draft; the same request twice counts once."""
        found: list[TaskRequest] = []
        many = any(d.start != drafts[0].start for d in drafts)
        if many:
            self._check_conditions(drafts)
        for position, draft in enumerate(map(self._placed, drafts)):
            asked = " ".join(self.words[draft.start : draft.end])
            if draft.task not in self.vocabulary and self.world is None:
                raise UnknownName(missing_task(asked, draft.task, self.vocabulary))
            if draft.is_bare and many:
                raise UnknownName(
                    f"'{asked}' does not say what to {asked}; name a class, or write '{asked} everything'."
                )
            self.is_open = draft.task not in self.vocabulary
            request = self._request(draft, asked)
            request = replace(request, open_vocabulary=True) if self.is_open else request
            found += [each for each in self._pairs(request, draft) if each not in found]
            if position + 1 == len(drafts) or drafts[position + 1].start != draft.start:
                self._remember(draft)
        return found

    def _pairs(self, request: TaskRequest, draft: Draft) -> list[TaskRequest]:
        """Ask for the pairs between two classes alone, either way round, not for those of each among themselves."""
        said = self.words[draft.start : draft.end]
        names = request.classes if draft.task == "scene_graph" and _RELATING & {*said} else ()
        if len(names) == 1 and {("each", "other"), ("one", "another")} & {*zip(said, said[1:], strict=False)}:
            names *= 2
        if len(names) != 2 or request.exclude:
            return [request]
        ends = dict.fromkeys([names, names[::-1]])
        return [replace(request, classes=(), relation=(subject, None, target)) for subject, target in ends]

    def _check_conditions(self, drafts: Sequence[Draft]) -> None:
        """Refuse "if there is a dog, count the cats": an "if" that nobody asks for is a condition of the rest."""
        is_asked = False
        for number, draft in enumerate(drafts):
            before = draft.start - 1
            while before >= 0 and self.words[before] in _JOINS:
                before -= 1
            opening, is_joined = self.words[draft.start], before < draft.start - 1
            is_told = opening == "whether" or (before >= 0 and self.words[before] in _ASKS)
            is_asked = is_told or (is_asked and is_joined)
            rest = drafts[number + 1 :]
            is_about_it = bool(rest) and not draft.is_relation and all(_is_about_it(other) for other in rest)
            if opening == "if" and not (is_asked or is_about_it):
                asked = " ".join(self.words[draft.start : draft.end])
                raise UnknownName(
                    f"'{asked}' makes the rest depend on it, and no request waits for another; ask for each on its "
                    "own, as in 'is there ...? find the ...'."
                )

    def _is_normal(self, place: int) -> bool:
        word = self.words[place : place + 1]
        return tuple(word) in SET["NORMAL"] and self.names.find("classification", word) is not None

    def _before(self, item: Item, draft: Draft, sought: set[str]) -> str | None:
        """The first of these words among the articles of an item."""
        start = item.start
        while start > draft.start and self.words[start - 1] in _ARTICLES:
            start -= 1
        return next((word for word in self.words[start : item.start] if word in sought), None)

    def _placed(self, draft: Draft) -> Draft:
        """Ask detection or segmentation whether something is there, where classification does not know it.

        "Is this normal?" asks for a class of this name where there is one, not whether anything is unusual.
        """
        if draft.task == "ood" and draft.phrase is None:
            own = next((k for k in range(draft.start, draft.end) if self._is_normal(k)), None)
            if own is not None:
                item = Item("class", own, own + 1)
                return Draft("classification", "all", draft.start, draft.end, Phrase((item,)), picture=draft.picture)
        holder = draft.subject if draft.predicate == "containing" and not self.has_request else None
        word = self.words[holder.start] if holder is not None and holder.kind == "pronoun" else None
        if word in ("it", "this", "that") and draft.object is not None:
            phrase = Phrase((draft.object,))  # "does it contain a cat?" of the picture
            draft = Draft("classification", "all", draft.start, draft.end, phrase, picture=word)
        if draft.task != "classification" or draft.phrase is None or draft.flag is not None:
            return draft
        if self.words[draft.end : draft.end + 1] == ["only"]:
            asked = " ".join(self.words[draft.start : draft.end + 1])
            raise UnknownName(f"'only' in '{asked}' asks for more than whether it is there; leave the word out.")
        for item in draft.phrase.items:
            if item.one and _NO_OTHER & set(self.words[draft.start : item.start]):
                raise UnknownName(self._names_number(draft))
            if word := self._before(item, draft, _SO_MANY):
                asked = " ".join(self.words[draft.start : draft.end])
                raise UnknownName(
                    f"'{word}' in '{asked}' asks for more than whether it is there; leave the word out, or ask how "
                    "many there are, or to find everything except it."
                )
        spans = [self.words[item.start : item.end] for item in draft.phrase.items if item.kind == "class"]
        able = [t for t in (draft.task, *PLACES) if all(self.names.find(t, span) is not None for span in spans)]
        able = [task for task in able if task in self.vocabulary]
        return replace(draft, task=able[0]) if spans and able else draft

    def _request(self, draft: Draft, asked: str) -> TaskRequest:
        if draft.is_relation:
            subject, target = (self._end(item, draft, asked) for item in (draft.subject, draft.object))
            predicate = self._predicate(draft.predicate, asked)
            return TaskRequest(draft.task, relation=(subject, predicate, target), raw=self.text)
        if draft.picture in ("it", "that", "they", "them") and self.has_request and self.before != Phrase():
            raise UnknownName(
                f"'{draft.picture}' in '{asked}' would be what was asked for before, but {draft.task} answers about "
                "the whole picture; write 'this picture'."
            )
        if draft.phrase is None:
            return TaskRequest(draft.task, quantifier=draft.quantifier, raw=self.text)
        meant = self._meant(draft.phrase, draft.task)
        items, exclude = meant.items, meant.exclude
        if any(item.kind == "else" for item in items) and not exclude:
            raise UnknownName(f"'{asked}' does not say what is left out; write 'everything except ...'.")
        classes, left_out = self._classes(items, draft.task), self._classes(exclude, draft.task)
        self._check_words(draft, items, classes, asked)
        self._check_ends(items if draft.task == "scene_graph" else (), asked)
        if any(item.one for item in exclude):
            raise UnknownName(f"'{asked}' leaves out one of several; only all of a class can be left out.")
        if exclude and not left_out:
            raise UnknownName(f"'{asked}' leaves out everything; name the classes to leave out.")
        both = [name for name in classes if name in left_out]
        if both:
            raise UnknownName(f"class '{both[0]}' is both asked for and left out in '{asked}'; keep one of the two.")
        if classes and left_out:
            self._check_without(draft.phrase, draft.task, asked)
        if any(item.attributes for item in exclude):
            raise UnknownName(f"'{asked}' leaves out some of a class; only all of a class can be left out.")
        narrowed = [self._before(item, draft, {"only", "just"}) for item in items]
        if any(narrowed[1:]) and not narrowed[0]:
            raise UnknownName(f"'{asked}' asks for one thing and then only for another; keep one of the two.")
        quantifier = self._quantifier(items, draft, asked)
        return TaskRequest(
            draft.task,
            classes,
            left_out,
            quantifier=quantifier,
            raw=self.text,
            attributes=self._attributes(items, classes, draft, asked),
            colours=self._colours(draft, asked),
        )

    def _check_words(self, draft: Draft, items: tuple[Item, ...], classes: tuple[str, ...], asked: str) -> None:
        """Refuse words that mean something else about a class, or in front of a task, than about the picture."""
        said = self.words[draft.start : items[0].start] if items else []
        is_deep = "deep" in said and said[said.index("deep") + 1 :][:1] not in (["in"], ["into"])
        if draft.task == "depth" and classes and is_deep:
            raise UnknownName(
                f"'deep' in '{asked}' may mean how deep it is itself; to ask for its distance, write 'far'."
            )
        for item in items if draft.task == "detection" else ():
            word = self.words[item.end - 1]
            is_picture = word != "scene" and (word,) in SET["IMAGE_NOUN"] and item.kind == "all"
            if is_picture and (self.words[item.end - 2],) not in SET["WHOLE"]:
                raise UnknownName(
                    f"'{word}' in '{asked}' may be the whole picture or a thing in it; write 'everything'."
                )

    def _check_without(self, phrase: Phrase, task: str, asked: str) -> None:
        """Refuse "cars, not trucks, bikes", and "people without backpacks", which may say what one of them has.

        Where the answer is pixels, "the road without the cars" takes away those that both cover.
        """
        if not phrase.exclude:
            return
        between = self.words[phrase.items[-1].end : phrase.exclude[-1].start]
        joins = [self.words[a.end : b.start] for a, b in zip(phrase.exclude, phrase.exclude[1:], strict=False)]
        if between[:2] in ([",", "not"], [",", "no"]) and joins and all({",", *_ARTICLES} >= {*join} for join in joins):
            raise UnknownName(
                f"'{asked}' may leave out only the first after '{between[1]}', or all that follow; write 'but not the "
                "... or the ...'."
            )
        if own := next((word for word in between if word in ("without", "minus")), None):
            if task == "segmentation" and _DEFINITE & set(between[between.index(own) :]):
                return
            raise UnknownName(
                f"'{own}' in '{asked}' may say what one of them has or what to leave out; to leave a class out, "
                "write 'but not'."
            )

    def _attributes(
        self, items: tuple[Item, ...], classes: tuple[str, ...], draft: Draft, asked: str
    ) -> tuple[tuple[str, str], ...]:
        """What narrows each class down; a class cannot be asked for twice with different words."""
        words: dict[str, tuple[str, ...]] = {}
        for item in items if classes else ():
            name = self._class(item, draft.task)
            own = (*item.attributes, *((draft.away,) if draft.away else ()))
            if words.setdefault(name, own) != own:
                ways = " and ".join(" ".join(way) or "any" for way in (words[name], own))
                raise UnknownName(f"'{asked}' asks for '{name}' in two ways ({ways}); ask in two sentences.")
        return tuple((name, word) for name, own in words.items() for word in own)

    def _colours(self, draft: Draft, asked: str) -> tuple[tuple[str, str], ...]:
        """The colours of the answer, each of which a picture must keep apart from the others and from black."""
        if draft.flag is not None:
            pairs = tuple(zip(("yes", "no"), draft.flag, strict=True))
        elif draft.colours and draft.phrase is not None:
            meant = [self._meant(Phrase((item,)), draft.task).items for item in draft.phrase.items]
            pairs = tuple(
                (self._class(item, draft.task), colour)
                for items, colour in zip(meant, draft.colours, strict=True)
                for item in items
                if item.kind == "class"
            )
            if any(item.kind != "class" for items in meant for item in items):
                raise UnknownName(f"'{asked}' paints everything; name the classes, each with its colour.")
        else:
            return ()
        for name, colour in pairs:
            if colour not in COLOURS:
                raise UnknownName(f"colour '{colour}' in '{asked}' cannot be drawn; use one of {listed(COLOURS)}.")
            if colour == "black" and draft.flag is None:
                raise UnknownName(
                    f"'{name}' cannot be black in '{asked}', since everything else is; use another colour."
                )
        named = dict(pairs)
        if len(named) < len(set(pairs)):
            raise UnknownName(f"'{asked}' gives one class two colours; choose one.")
        if len(set(named.values())) < len(named):
            colour = next(c for c in named.values() if list(named.values()).count(c) > 1)
            both = " and ".join(name for name, own in named.items() if own == colour)
            raise UnknownName(f"{both} are both {colour} in '{asked}', which nobody could tell apart; use two colours.")
        return tuple(named.items())

    def _remember(self, draft: Draft) -> None:
        if draft.is_relation:
            self.before = None
        elif draft.phrase is not None:
            self.before = self._meant(draft.phrase, draft.task)
        elif not self.has_request:
            self.before = Phrase()
        self.has_request = True

    def _meant(self, phrase: Phrase, task: str) -> Phrase:
        """Put what pronouns stand for in their place: what was asked for before, or at first the picture."""
        left_out = self._meant(Phrase(phrase.exclude), task).items if phrase.exclude else ()
        meant: list[Item] = []
        for item in phrase.items:
            word = self.words[item.start]
            if item.kind != "pronoun":
                meant.append(item)
            elif self.before is not None and not (task == "detection" and self.before == Phrase()):
                meant += self.before.items or [Item("all", item.start, item.end)]
                left_out += self.before.exclude
            elif not self.has_request and word in ("it", "this", "that", "its") and task != "detection":
                meant.append(Item("all", item.start, item.end))  # the picture
            else:
                raise UnknownName(f"'{word}' has nothing to stand for; name the class instead, as in 'the dog'.")
        return Phrase(tuple(meant), left_out)

    def _classes(self, items: tuple[Item, ...], task: str) -> tuple[str, ...]:
        """The class names of the items; empty when one of them is everything."""
        named = tuple(dict.fromkeys(self._class(item, task) for item in items if item.kind == "class"))
        return named if all(item.kind == "class" for item in items) else ()

    def _class(self, item: Item, task: str) -> str:
        span = self.words[item.start : item.end]
        name = self.names.find(task, span)
        if name is None and self.world is not None:
            name = self._open_class(span)
        if name is None:
            others = [other for other in self.names.tasks_that_know(span) if other != WORLD]
            hint = self.names.suggest(span, task) or "."
            raise UnknownName(
                f"class '{' '.join(span)}' is not known to {task}{hint} {listed(others)} "
                f"{'knows' if len(others) == 1 else 'know'} it."
            )
        return name

    def _open_class(self, span: Sequence[str]) -> str | None:
        """The name of a class that no head of the task knows and the other model does; None when neither does.

        Raises:
            UnknownName: The words look like a misspelling of a class that is known.
        """
        assert self.world is not None
        name = self.names.find(WORLD, span)
        if name is None and self.world.any_noun:
            if not self.names.tasks_that_know(span) and (hint := self.names.misspelt(span)):
                raise UnknownName(
                    f"class '{' '.join(span)}' is not known; did you mean '{hint}'? Spell it as it is known."
                )
            name = " ".join([*span[:-1], singular(span[-1])])
        self.is_open |= name is not None
        return name

    def _end(self, item: Item | None, draft: Draft, asked: str) -> str | None:
        """One end of a relation; a pronoun must stand for a single class, and no number or "all" before it counts."""
        if item is None:
            return None
        word = self._before(item, draft, {*_SO_MANY, "both"}) if self.words[draft.start] in _YES_NO else None
        if word or item.one:
            raise UnknownName(
                f"'{word or 'one'}' in '{asked}' asks for how many of them it holds, but a relation is looked for in "
                "every pair; leave the word out."
            )
        meant = self._meant(Phrase((item,)), draft.task).items
        self._check_ends(meant, asked)
        if len(meant) != 1 or meant[0].kind != "class":
            raise UnknownName(
                f"'{self.words[item.start]}' must stand for one class in a relation; name the class instead."
            )
        return self._class(meant[0], draft.task)

    def _check_ends(self, items: Sequence[Item], asked: str) -> None:
        """Refuse "the dog on the red couch": a relation has no room for what narrows its ends down."""
        if narrowed := next((item.attributes for item in items if item.attributes), ()):
            raise UnknownName(
                f"'{' '.join(narrowed)}' in '{asked}' narrows one end of a relation down, which is asked of whole "
                "classes; leave the word out."
            )

    def _predicate(self, name: str | None, asked: str) -> str | None:
        """The model's own name of a relation."""
        if name is None or self.predicates is None:
            return name
        own = own_predicate(name, self.predicates)
        if own is None and self.world is not None:
            taught = self.world.predicates
            own = name if taught is None else own_predicate(name, taught)
            self.is_open |= own is not None
        if own is None:
            broader = [known for known in self.predicates if name.endswith(f" {known}")]  # "sitting on": "on"
            hint = f"; did you mean '{broader[0]}'?" if broader else "."
            raise UnknownName(
                f"relation '{name}' in '{asked}' is not known to scene_graph{hint} It knows {listed(self.predicates)}."
            )
        return own

    def _names_number(self, draft: Draft) -> str:
        asked = " ".join(self.words[draft.start : draft.end])
        return f"'{asked}' asks for a number and names it; ask how many there are."

    def _quantifier(self, items: tuple[Item, ...], draft: Draft, asked: str) -> str:
        ones = {item.one for item in items}
        if True not in ones:
            return draft.quantifier
        if draft.quantifier != "all":
            raise UnknownName(self._names_number(draft))
        if len(ones) > 1:
            raise UnknownName(f"'{asked}' asks for one of some classes and all of others; ask in two sentences.")
        return "one"


def _is_about_it(draft: Draft) -> bool:
    """Whether a request is about what was named before and nothing else: "find it"."""
    return draft.phrase is not None and {item.kind for item in draft.phrase.items} == {"pronoun"}
