"""From a request to English: one canonical sentence, and thousands of ways to say the same.

A phrase is `[opener] frame [scope] [reason] [closing]` with a noun phrase in every number, determiner and synonym that
the lexicon has. Whole frames and whole synonyms are held out of training, so that what a model does with new words can
be measured; `SPLITS` names the three draws. Every phrase reads back, by `parse`, as the request that it was drawn for.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConfigError, DataError, nearest
from .names import GROUPS, parts_of, plural, singular
from .phrase_table import CLOSINGS, FRAMES, HELD_OUT, OPENERS, PAIR_FRAMES, PAIR_HELD_OUT, REASONS, SCOPES
from .request import TaskRequest

if TYPE_CHECKING:
    from torch import Generator

__all__ = ["SPLITS", "canonical", "draw_phrase", "frames_of", "phrase_kind", "synonyms_of"]

SPLITS = ("train", "frames", "synonyms")
"""All of training; held-out frames with the words of training; frames of training with held-out synonyms."""
SHARE = {"opener": 0.4, "scope": 0.3, "reason": 0.05, "closing": 0.25}
DETERMINERS = {  # by number: one, many
    "one": ("the", "every", "each", "the"),
    "many": ("the", "all the", "all", "", "all of the"),
}
T = TypeVar("T")


class _Draw:
    """Random choices from a torch generator, without torch at import."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def chance(self, share: float) -> bool:
        import torch

        return float(torch.rand((), generator=self.generator)) < share

    def pick(self, options: Sequence[T]) -> T:
        import torch

        return options[int(torch.randint(len(options), (), generator=self.generator))]


def phrase_kind(request: TaskRequest) -> str:
    """The kind of frame that says a request: a key of `FRAMES`, or "pairs" for segmentation with colours.

    Raises:
        DataError: The grammar has no words for it.
    """
    subject, predicate, target = request.relation or (None, None, None)
    if request.relation is not None:
        kind = {
            (True, False, True): "relation",
            (True, True, True): "whole relation",
            (True, True, False): "open object",
            (False, True, True): "open subject",
        }.get((subject is not None, predicate is not None, target is not None))
        if kind is None:
            raise DataError(f"the grammar has no words for the relation {request.relation}; name two of its parts.")
        return kind
    if request.task == "scene_graph":
        raise DataError("the grammar asks for one relation of a scene graph; use visgen.diffusion.codec.passes.")
    if request.task == "segmentation":
        return "pairs" if request.colours else "segmentation"
    if request.task == "detection":
        return "count" if request.quantifier == "count" else "detection"
    if request.task == "depth":
        return "depth of" if request.classes else "depth"
    if request.task == "classification":
        if not request.classes:
            raise DataError("the grammar asks whether classes are there, but the request names none; name the labels.")
        return "panel" if len(request.classes) > 1 else "coloured flag" if request.colours else "flag"
    return "ood"


def frames_of(kind: str, split: str = "train") -> tuple[str, ...]:
    """The frames of a kind in a split; see `phrase_table` for their form."""
    if kind == "pairs":
        return tuple("! {pairs}" + f" {frame}" for frame in (PAIR_HELD_OUT if split == "frames" else PAIR_FRAMES))
    return HELD_OUT[kind] if split == "frames" else FRAMES[kind]


def synonyms_of(name: str, split: str = "train") -> tuple[str, ...]:
    """Other names of a class in a split, in the singular; the class name itself is none of them.

    The last synonym of a group is held out; where there is only one, a hash of it decides.
    """
    one = (*parts_of(name)[:-1], singular(parts_of(name)[-1])) if parts_of(name) else ()
    found = [" ".join(form) for group in GROUPS if one in group for form in sorted(group) if form != one]
    lone = len(found) == 1 and zlib.crc32(found[0].encode()) % 2 == 1
    held = found[-1:] if len(found) > 1 or lone else []
    return tuple(held if split == "synonyms" else [form for form in found if form not in held])


def canonical(request: TaskRequest) -> str:
    """The one plain sentence that stands for a request: short, in class names, without politeness.

    Raises:
        DataError: The grammar has no words for it.
    """
    kind = phrase_kind(request)
    names = " and ".join(_described(request, name) for name in request.classes) or "everything"
    if request.quantifier == "one" and request.classes:
        names = f"one {names}"
    if request.exclude:
        names += f" except {' and '.join(map(_plain, request.exclude))}"
    subject, predicate, target = request.relation or (None, None, None)
    colours = dict(request.colours)
    pairs = " and ".join(f"{_described(request, name)} {colours[name]}" for name in request.classes if name in colours)
    flag = f"is there {_article(names)}? if so show {colours.get('yes', 'green')}, otherwise {colours.get('no', 'red')}"
    return {
        "segmentation": f"segment {names}",
        "pairs": f"paint {pairs}",
        "detection": f"find {names}",
        "count": f"count {names}",
        "depth": "how far is everything",
        "depth of": f"how far is {names}",
        "flag": f"is there {_article(names)}",
        "coloured flag": flag,
        "panel": f"which of these is it: {', '.join(_described(request, name) for name in request.classes)}",
        "ood": "is anything unusual",
        "relation": f"how is the {subject} related to the {target}",
        "whole relation": f"is the {subject} {predicate} the {target}",
        "open object": f"what is the {subject} {predicate}",
        "open subject": f"what is {predicate} the {target}",
    }[kind]


def draw_phrase(
    request: TaskRequest,
    generator: Generator,
    split: str = "train",
    *,
    noise: float = 0.1,
    most_words: int = 24,
) -> str:
    """Draw one of the thousands of ways to say a request.

    Args:
        request: What is asked; whether the class is in any picture plays no part, so absent classes are asked for in
            the same words.
        generator: Source of all choices: the same state gives the same phrase.
        split: One of `SPLITS`. With "synonyms" a class without a held-out synonym keeps its own name.
        noise: Chance of unusual case, spaces or punctuation.
        most_words: What stands around the frame is dropped from more words on, so that short contexts hold the rest.
    Raises:
        ConfigError: An unknown split.
        DataError: The grammar has no words for the request.
    """
    if split not in SPLITS:
        raise ConfigError(f"split is '{split}'{nearest(split, SPLITS)} Splits: {', '.join(SPLITS)}.")
    draw = _Draw(generator)
    kind = phrase_kind(request)
    mood, frame = draw.pick(_fitting(request, kind, frames_of(kind, split))).split(" ", 1)
    core = _pairs(request, frame, draw, split) if kind == "pairs" else _fill(request, frame, draw, split)
    parts = {
        "opener": draw.pick(OPENERS[mood]) if draw.chance(SHARE["opener"]) else "",
        "scope": draw.pick(SCOPES) if draw.chance(SHARE["scope"]) and _takes_scope(kind, core) else "",
        "reason": draw.pick(REASONS) if draw.chance(SHARE["reason"]) else "",
        "closing": draw.pick(CLOSINGS) if draw.chance(SHARE["closing"]) else "",
    }
    if mood == "." and not parts["opener"]:
        parts["opener"] = draw.pick(("", "give me", "show me", "I need"))
    for name in ("closing", "reason", "scope", "opener"):
        if sum(len(part.split()) for part in (core, *parts.values())) > most_words:
            parts[name] = ""
    text = " ".join(filter(None, (parts["opener"], core, parts["scope"], parts["reason"])))
    text += f"{',' if parts['closing'] == 'please' else ''} {parts['closing']}" if parts["closing"] else ""
    return _noisy(text, mood, draw, noise)


def _fitting(request: TaskRequest, kind: str, frames: tuple[str, ...]) -> tuple[str, ...]:
    """The frames with room for "one of", "except" and several classes, where the request has them."""
    is_plain = len(request.classes) < 2 and not request.exclude and request.quantifier != "one"
    if is_plain or kind not in ("segmentation", "detection", "depth of"):
        return frames
    return tuple(frame for frame in frames if "{np}" in frame)


def _takes_scope(kind: str, core: str) -> bool:
    return kind in ("segmentation", "detection", "count", "flag", "ood", "depth of") and not any(
        word in core.split() for word in ("picture", "image", "photo", "scene", "here", "black")
    )


def _plain(name: str) -> str:
    return " ".join(parts_of(name))


def _described(request: TaskRequest, name: str) -> str:
    words = [word for owner, word in request.attributes if owner == name]
    return " ".join([*words, _plain(name)])


def _article(words: str) -> str:
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"


def _noun(name: str, draw: _Draw, split: str) -> str:
    """A class name or a synonym of it, in the singular."""
    held = synonyms_of(name, "synonyms")
    if split == "synonyms":
        return draw.pick(held) if held else _plain(name)
    others = synonyms_of(name)
    return draw.pick(others) if others and draw.chance(0.5) else _plain(name)


def _plural(words: str) -> str:
    *first, last = words.split()
    return " ".join([*first, plural(singular(last))[0]])


def _phrase(request: TaskRequest, name: str, draw: _Draw, split: str) -> tuple[str, bool]:
    """One class as a noun phrase, with whether it is a plural."""
    noun = _noun(name, draw, split)
    words = " ".join([word for owner, word in request.attributes if owner == name])
    is_many = draw.chance(0.5)
    if request.quantifier == "one":
        return f"one {words} {noun}".replace("  ", " "), False
    determiner = draw.pick(DETERMINERS["many" if is_many else "one"])
    return " ".join(filter(None, (determiner, words, _plural(noun) if is_many else noun))), is_many


def _fill(request: TaskRequest, frame: str, draw: _Draw, split: str) -> str:
    slots: dict[str, str] = {}
    if request.relation is not None:
        subject, predicate, target = request.relation
        slots = {"s": _noun(subject or "", draw, split), "o": _noun(target or "", draw, split), "pred": predicate or ""}
        return frame.format(**slots)
    phrases = [_phrase(request, name, draw, split) for name in request.classes]
    text = " and ".join(words for words, _ in phrases) or "everything"
    if request.exclude:
        text += " except " + " and ".join(f"the {_noun(name, draw, split)}" for name in request.exclude)
    nouns = [_noun(name, draw, split) for name in request.classes]
    described = [
        " ".join([*[w for o, w in request.attributes if o == n], noun])
        for n, noun in zip(request.classes, nouns, strict=True)
    ]
    colours = dict(request.colours)
    slots = {
        "np": text,
        "is": "are" if len(phrases) > 1 or (phrases and phrases[0][1]) else "is",
        "one": " or ".join(described),
        "many": " and ".join(map(_plural, described)),
        "a": " or ".join(map(_article, described)),
        "or": " or ".join(map(_article, described)),
        "list": ", ".join(described),
        "yes": colours.get("yes", ""),
        "no": colours.get("no", ""),
    }
    return frame.format(**slots)


def _pairs(request: TaskRequest, frame: str, draw: _Draw, split: str) -> str:
    """ "paint the dog red and the cat blue": the verb once, or before each pair."""
    frame = frame.removeprefix("{pairs} ")
    colours = dict(request.colours)
    missing = [name for name in request.classes if name not in colours]
    if missing:
        raise DataError(f"'{missing[0]}' has no colour while others have; name the colour of every class.")
    verb, rest = frame.split(" ", 1)
    repeat = draw.chance(0.3)
    parts = []
    for k, name in enumerate(request.classes):
        filled = (frame if k == 0 or repeat else rest).format(
            np=_phrase(request, name, draw, split)[0], colour=colours[name]
        )
        parts.append(filled)
    text = " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return text + (", everything else black" if draw.chance(0.2) else "")


def _noisy(text: str, mood: str, draw: _Draw, noise: float) -> str:
    """Usual punctuation, or with the chance `noise` an unusual case, space or sign."""
    text = " ".join(text.split())
    if draw.chance(noise):
        change = draw.pick(("upper", "title", "spaces", "exclaim", "dots"))
        if change in ("upper", "title"):
            return str.upper(text) if change == "upper" else text.title()
        return {"spaces": text.replace(" ", "  "), "exclaim": text + "!!", "dots": text + " ..."}[change]
    if draw.chance(0.5):
        text = text[:1].upper() + text[1:]
    return text + draw.pick(("", "?") if mood == "?" else ("", ".", "!"))
