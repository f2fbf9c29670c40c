"""An English instruction to a plan: normalise, read the clauses, and put the model's class names in place of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from ..errors import UnknownName, nearest
from .cues import holds_cue_alone, read_cues
from .draft import Draft
from .grammar import Grammar
from .lexicon import CONTRACTIONS
from .names import ClassNames, class_names
from .refusal import offers, refusal
from .request import TASKS, TaskRequest
from .resolver import WORLD, Resolver
from .wide_grammar import WideGrammar
from .world import OpenWorld, open_noun_end

__all__ = ["parse"]

_Reading: TypeAlias = tuple[list[str], list[Draft]] | None  # words and what they ask for; None: not understood
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

    Case, punctuation, number, synonyms and politeness change nothing, and a new line parts two requests as a full stop
    does, unless only the lines together are a sentence. Every word must be understood: a word that is not
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
    known = [(task, tuple(classes)) for task, classes in vocabulary.items()]
    names = class_names((*known, (WORLD, world.classes)) if world is not None else tuple(known))
    lines = [line for line in by_lines(text) if normalise(line)]
    words = normalise(" ; ".join(lines))
    if not words:
        raise UnknownName(f"the instruction is empty; name a task, as in {offers(vocabulary)}.")
    if len(words) > MAX_WORDS:
        raise UnknownName(
            f"the instruction has {len(words)} words, from '{words[0]}' on; it may have {MAX_WORDS}: split it."
        )
    found = _in_parts([_read(line, names, world) for line in lines])
    if found is None and len(lines) > 1:  # a list, or a sentence, that goes on in the next line
        found = _framed(words, names, world) or _framed(normalise(" ".join(lines)), names, world)
    if found is None:
        grammar = _grammar(words, names, world)
        grammar.read()
        raise UnknownName(refusal(words, grammar, names, vocabulary) + _other_model(words, names, world))
    words, drafts = found
    return Resolver(text, words, names, vocabulary, predicates, world).requests(drafts)


def _read(line: str, names: ClassNames, world: OpenWorld | None) -> _Reading:
    """What one line asks for: in frames, as a whole; else each sentence in a frame or, on its own, word by word."""
    if whole := _framed(normalise(line), names, world):
        return whole
    sentences = [words for sentence in re.split(r"(?<=[.?!;])\s+", line) if (words := normalise(sentence))]
    parts = [_framed(words, names, world) or _by_words(words, names) for words in sentences]
    if len(parts) == 2 and parts[1] is None and holds_cue_alone(sentences[1], partial(names.match, sentences[1])):
        return _by_words(normalise(line), names)  # "seen a dog? show me where."
    return _in_parts(parts)


def _framed(words: list[str], names: ClassNames, world: OpenWorld | None) -> _Reading:
    drafts = _grammar(words, names, world).read()
    return None if drafts is None else (words, drafts)


def _by_words(words: list[str], names: ClassNames) -> _Reading:
    drafts = read_cues(words, partial(names.match, words))
    return None if drafts is None else (words, drafts)


def _in_parts(parts: Iterable[_Reading]) -> _Reading:
    """One after the other what each part asks for; None when one was not understood."""
    words: list[str] = []
    drafts: list[Draft] = []
    for part in parts:
        if part is None:
            return None
        words += [","] if words else []
        drafts += [draft.moved(len(words)) for draft in part[1]]
        words += part[0]
    return words, drafts


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


def by_lines(text: str) -> list[str]:
    """Give the lines of a text, without the marks of a list; what follows "find:" or "and" stays in its line."""
    lines = re.sub(r"[ \t]*[\r\n\v\f\x85\u2028\u2029]+", "\n", text)
    lines = re.sub(r"^[ \t]*(?:\d{1,2}[.)]|[-*\u2022])[ \t]+", "", lines, flags=re.MULTILINE)
    return re.sub(r"(?i)(:|\b(?:and|or|then))\n", r"\1 ", lines).split("\n")


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
