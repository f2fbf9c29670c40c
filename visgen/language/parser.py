"""An English instruction to a plan: normalise, read the clauses, and put the model's class names in place of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import UnknownName, nearest
from .draft import Draft, Item, Phrase
from .frames import own_predicate
from .grammar import Grammar
from .lexicon import BEGINNINGS, CONTRACTIONS, EXAMPLES
from .names import PLACES, ClassNames, class_names, closest
from .request import TASKS, TaskRequest

__all__ = ["parse"]

MAX_WORDS = 256  # far beyond an instruction; keeps a pasted document from taking seconds
# A word, a separator, or a character that is neither and so is refused, such as an emoji. Quotation marks, brackets,
# colons, asterisks and dashes around words say nothing; an underscore is a space.
TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[,;.?!/&+]|[^\w\s\"'`\u201c-\u201f\u00ab\u00bb()\[\]{}<>:*\u2010-\u2015-]")


def parse(
    text: str, vocabulary: Mapping[str, Sequence[str]], predicates: Sequence[str] | None = None
) -> list[TaskRequest]:
    """Give the requests of an English instruction, in the order in which they were made.

    Case, punctuation, number, synonyms and politeness change nothing. Every word must be understood: a word that is not
    is refused, and nothing is guessed.

    Args:
        text: One or more sentences, such as "segment the road and tell me whether anything looks unusual".
        vocabulary: For each task that the model has, the classes that it knows (those of all its heads together). Depth
            and ood, which have none of their own, understand the classes of detection and segmentation.
        predicates: The relations that the model's scene graphs know; None takes all of the lexicon as they are.
    Returns:
        At least one request. "everything" leaves `classes` empty; "it" and "them" are the classes asked for before.
        Whether something is there ("is there a dog?") is asked of classification, or where that does not know the
        class, of detection or segmentation.
    Raises:
        UnknownName: The instruction is empty, holds a word or class that is not known, asks for a task that the
            vocabulary does not have, or contradicts itself; or the vocabulary names a task that does not exist.
    """
    for task in vocabulary:
        if task not in TASKS:
            raise UnknownName(f"task '{task}' is not known{nearest(task, TASKS)} Known: {', '.join(TASKS)}.")
    if not vocabulary:
        raise UnknownName("the vocabulary names no task; a model must have at least one.")
    words = normalise(text)
    if not words:
        raise UnknownName(f"the instruction is empty; name a task, as in {_offers(vocabulary)}.")
    if len(words) > MAX_WORDS:
        raise UnknownName(
            f"the instruction has {len(words)} words, from '{words[0]}' on; it may have {MAX_WORDS}: split it."
        )
    names = class_names(tuple((task, tuple(classes)) for task, classes in vocabulary.items()))
    grammar = Grammar(words, lambda start: names.match(words, start))
    drafts = grammar.read()
    if drafts is None:
        raise UnknownName(_refusal(words, grammar, names, vocabulary))
    return _Resolver(text, words, names, vocabulary, predicates).requests(drafts)


def normalise(text: str) -> list[str]:
    """Give the words of a text in lower case, contractions written out, and "," for whatever separates parts.

    "&" and "+" are "and"; brackets, quotation marks, colons and dashes say nothing; "dog's" is "dog" "'s".
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = plain.replace("\u2019", "'").replace("\u2018", "'")
    plain = "".join(" " if unicodedata.category(c) == "Cc" else c for c in plain if unicodedata.category(c) != "Cf")
    words: list[str] = []
    for token in TOKEN.findall(plain):
        if token in "&+":
            words.append("and")
        elif token in ",;.?!/":
            if words and words[-1] != ",":
                words.append(",")
        elif token in CONTRACTIONS:
            words += CONTRACTIONS[token].split()
        elif token.endswith("'s"):
            words += [token[:-2], "'s"]
        else:
            words.append(token)
    while words and words[-1] == ",":
        words.pop()
    return words


class _Resolver:
    """Puts class names into drafts, one after the other, since "it" means what came before."""

    def __init__(
        self,
        text: str,
        words: list[str],
        names: ClassNames,
        vocabulary: Mapping[str, Sequence[str]],
        predicates: Sequence[str] | None,
    ) -> None:
        self.text, self.words, self.names, self.vocabulary = text, words, names, vocabulary
        self.predicates = predicates
        self.before: Phrase | None = None  # what "it" means; None at first and after a question to the graph
        self.has_request = False

    def requests(self, drafts: Sequence[Draft]) -> list[TaskRequest]:
        """Give one request per draft; the same request twice counts once."""
        found: list[TaskRequest] = []
        many = any(d.start != drafts[0].start for d in drafts)
        for position, draft in enumerate(map(self._placed, drafts)):
            asked = " ".join(self.words[draft.start : draft.end])
            if draft.task not in self.vocabulary:
                raise UnknownName(_missing_task(asked, draft.task, self.vocabulary))
            if draft.is_bare and many:
                raise UnknownName(
                    f"'{asked}' does not say what to {asked}; name a class, or write '{asked} everything'."
                )
            request = self._request(draft, asked)
            if request not in found:
                found.append(request)
            if position + 1 == len(drafts) or drafts[position + 1].start != draft.start:
                self._remember(draft)
        return found

    def _placed(self, draft: Draft) -> Draft:
        """Ask detection or segmentation whether something is there, where classification does not know it."""
        if draft.task != "classification" or draft.phrase is None:
            return draft
        spans = [self.words[item.start : item.end] for item in draft.phrase.items if item.kind == "class"]
        able = [t for t in (draft.task, *PLACES) if all(self.names.find(t, span) is not None for span in spans)]
        able = [task for task in able if task in self.vocabulary]
        return replace(draft, task=able[0]) if spans and able else draft

    def _request(self, draft: Draft, asked: str) -> TaskRequest:
        if draft.is_relation:
            subject, target = (self._end(item, draft.task) for item in (draft.subject, draft.object))
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
        if any(item.one for item in exclude):
            raise UnknownName(f"'{asked}' leaves out one of several; only all of a class can be left out.")
        if exclude and not left_out:
            raise UnknownName(f"'{asked}' leaves out everything; name the classes to leave out.")
        both = [name for name in classes if name in left_out]
        if both:
            raise UnknownName(f"class '{both[0]}' is both asked for and left out in '{asked}'; keep one of the two.")
        quantifier = self._quantifier(items, draft, asked)
        return TaskRequest(draft.task, classes, left_out, quantifier=quantifier, raw=self.text)

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
            elif self.before is not None:
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
        if name is None:
            others = self.names.tasks_that_know(span)
            hint = self.names.suggest(span, task) or "."
            raise UnknownName(
                f"class '{' '.join(span)}' is not known to {task}{hint} {_listed(others)} "
                f"{'knows' if len(others) == 1 else 'know'} it."
            )
        return name

    def _end(self, item: Item | None, task: str) -> str | None:
        """One end of a relation; a pronoun must stand for a single class."""
        if item is None:
            return None
        meant = self._meant(Phrase((item,)), task).items
        if len(meant) != 1 or meant[0].kind != "class":
            raise UnknownName(
                f"'{self.words[item.start]}' must stand for one class in a relation; name the class instead."
            )
        return self._class(meant[0], task)

    def _predicate(self, name: str | None, asked: str) -> str | None:
        """The model's own name of a relation."""
        if name is None or self.predicates is None:
            return name
        own = own_predicate(name, self.predicates)
        if own is None:
            broader = [known for known in self.predicates if name.endswith(f" {known}")]  # "sitting on": "on"
            hint = f"; did you mean '{broader[0]}'?" if broader else "."
            raise UnknownName(
                f"relation '{name}' in '{asked}' is not known to scene_graph{hint} It knows {_listed(self.predicates)}."
            )
        return own

    def _quantifier(self, items: tuple[Item, ...], draft: Draft, asked: str) -> str:
        ones = {item.one for item in items}
        if draft.quantifier != "all" or True not in ones:
            return draft.quantifier
        if len(ones) > 1:
            raise UnknownName(f"'{asked}' asks for one of some classes and all of others; ask in two sentences.")
        return "one"


def _refusal(words: list[str], grammar: Grammar, names: ClassNames, vocabulary: Mapping[str, Sequence[str]]) -> str:
    """Say which word stopped the reading, the rule it breaks, and what could stand there."""
    stop = grammar.stop
    before = " ".join(words[: stop.position]).replace(" ,", ",")
    if stop.position >= len(words):
        return (
            f"the instruction ends after '{words[-1]}', before it is complete; name a task and a class, "
            f"as in {_offers(vocabulary)}."
        )
    word = words[stop.position]
    wanted = {task for task in stop.tasks if task is not None}
    if wanted and not wanted & set(vocabulary):
        return _missing_task(f"{before} {word}".strip(), " or ".join(sorted(wanted)), vocabulary)
    is_class = names.match(words, stop.position) is not None
    hint = names.suggest(words[stop.position :]) if "class" in stop.expected and not is_class else ""
    if stop.position in grammar.clause_starts:
        verb = closest(word, BEGINNINGS)
        hint = hint or (f"; did you mean '{verb}'?" if verb else ".")
        return f"'{word}' names no task{hint} Begin with a task, as in {_offers(vocabulary)}."
    if word in ("no", "not"):
        return f"'{word}' does not fit after '{before}'; to leave something out, write 'everything except the ...'."
    if "class" in stop.expected and not is_class:
        return (
            f"'{word}' in '{before} {word}' is no class that the model knows{hint or '.'} Use its class names; places, "
            "colours, numbers and comparisons are not understood yet."
        )
    return (
        f"'{word}' does not fit after '{before}'; places, colours, numbers and comparisons are not understood yet. "
        f"Known: {_offers(vocabulary)}."
    )


def _missing_task(asked: str, task: str, vocabulary: Mapping[str, Sequence[str]]) -> str:
    has = f"it has {_listed(vocabulary)}, as in {_offers(vocabulary)}"
    return f"'{asked}' asks for {task}, which this model does not have; {has}."


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names)


def _offers(vocabulary: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"'{sentence}'" for task, sentence in EXAMPLES.items() if task in vocabulary)
