"""An English instruction to a plan: normalise, read the clauses, and put the model's class names in place of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from ..errors import UnknownName, nearest
from .cues import read_cues
from .grammar import Grammar
from .lexicon import CONTRACTIONS
from .names import ClassNames, class_names
from .refusal import offers, refusal
from .request import TASKS, TaskRequest
from .resolver import WORLD, Resolver
from .wide_grammar import WideGrammar
from .world import OpenWorld, open_noun_end

__all__ = ["parse"]

MAX_WORDS = 256  # far beyond an instruction; keeps a pasted document from taking seconds
# A word, a separator, or a character that is neither and so is refused, such as an emoji. Quotation marks, brackets,
# colons, asterisks and dashes around words say nothing; an underscore is a space.
TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[,;.?!/&+]|[^\w\s\"'`\u201c-\u201f\u00ab\u00bb()\[\]{}<>:*\u2010-\u2015-]")


def parse(
    text: str,
    vocabulary: Mapping[str, Sequence[str]],
    predicates: Sequence[str] | None = None,
    world: OpenWorld | None = None,
) -> list[TaskRequest]:
    """Give the requests of an English instruction, in the order in which they were made.

    Case, punctuation, number, synonyms and politeness change nothing. Every word must be understood: a word that is not
    is refused, and nothing is guessed. Sentences come in the frames of `lexicon`; a phrasing outside all of them is
    read word by word (`cues`), and passes when only one meaning is left.

    Args:
        text: One or more sentences, such as "segment the road and tell me whether anything looks unusual".
        vocabulary: For each task that the model has, the classes that it knows (those of all its heads together). Depth
            and ood, which have none of their own, understand the classes of detection and segmentation.
        predicates: The relations that the model's scene graphs know; None takes all of the lexicon as they are.
        world: What a model that reads words itself can be asked, where one is at hand. Requests that only it can answer
            have `needs_language`: colours, attributes, and classes that no head knows (`open_vocabulary`).
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
        raise UnknownName(f"the instruction is empty; name a task, as in {offers(vocabulary)}.")
    if len(words) > MAX_WORDS:
        raise UnknownName(
            f"the instruction has {len(words)} words, from '{words[0]}' on; it may have {MAX_WORDS}: split it."
        )
    known = [(task, tuple(classes)) for task, classes in vocabulary.items()]
    names = class_names((*known, (WORLD, world.classes)) if world is not None else tuple(known))
    grammar = _grammar(words, names, world)
    drafts = grammar.read() or read_cues(words, lambda start: names.match(words, start))
    if drafts is None:
        raise UnknownName(refusal(words, grammar, names, vocabulary) + _other_model(words, names, world))
    return Resolver(text, words, names, vocabulary, predicates, world).requests(drafts)


def _grammar(words: list[str], names: ClassNames, world: OpenWorld | None) -> Grammar:
    if world is None:
        return Grammar(words, lambda start: names.match(words, start))

    def class_end(start: int) -> int | None:
        end = names.match(words, start)
        return open_noun_end(words, start, names) if end is None and world.any_noun else end

    return WideGrammar(words, class_end, lambda start, end: names.match(words, start) is None)


def _other_model(words: list[str], names: ClassNames, world: OpenWorld | None) -> str:
    """A hint, where a model that reads words itself would understand."""
    if world is not None or _grammar(words, names, OpenWorld()).read() is None:
        return ""
    hint = " A model that reads instructions itself (path 'diffusion' or 'auto') could be asked this"
    return f"{hint}; 'auto' asks one only where it is named as `instruct`."


def normalise(text: str) -> list[str]:
    """Give the words of a text in lower case, contractions written out, and "," for whatever separates parts.

    "&" and "+" are "and"; brackets, quotation marks, colons and dashes say nothing; "dog's" is "dog" "'s".
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    plain = plain.replace("\u2019", "'").replace("\u2018", "'")
    plain = re.sub(r"\band/or\b", "or", plain)
    plain = re.sub(r"\b(can|could|would|will|do|did) u\b", r"\1 you", plain)  # elsewhere it may be a class
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
