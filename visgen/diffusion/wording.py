"""Sentences for questions: fresh phrasings in training, all short enough for the text encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random

import torch

from ..errors import DataError, UnknownName
from ..language import TaskRequest
from ..language.phrases import canonical, draw_phrase

__all__ = ["Wording", "corpus_of"]

_TRIES = 4
_REMEMBERED = 20_000  # sentences whose reading is kept


class Wording:
    """Write a question as a sentence that the text encoder can hold.

    Args:
        count: Tokens of a sentence, begin and end included.
        most: Most tokens.
        plain: Share of canonical sentences in training, which are what a parsed instruction becomes in use.
        split: Split of the phrase grammar that other sentences are drawn from.
        read: Reads a sentence as the model's user is read (`visgen.diffusion.reading`). A sentence that it takes for
            another question ("find dining tables" for `table`, where `dining table` is a class too) is drawn anew;
            without it none is.
    """

    def __init__(
        self,
        count: Callable[[str], int],
        most: int,
        plain: float = 0.3,
        split: str = "train",
        read: Callable[[str], Sequence[TaskRequest]] | None = None,
    ) -> None:
        self.count, self.most, self.plain, self.split = count, most, plain, split
        self.read = read
        self._meant: dict[str, tuple[TaskRequest, ...] | None] = {}

    def __call__(self, request: TaskRequest, random: Random) -> str:
        """Draw a sentence.

        Raises:
            DataError: Not even the canonical sentence is short enough.
        """
        if random.random() >= self.plain:
            generator = torch.Generator().manual_seed(random.getrandbits(48))
            for _ in range(_TRIES):
                text = draw_phrase(request, generator, self.split)
                if self.count(text) <= self.most and self._reads_back(request, text):
                    return text
        text = canonical(request)
        if self.count(text) > self.most:
            raise DataError(
                f"'{text}' has {self.count(text)} tokens but the text encoder takes {self.most}; name fewer or shorter "
                "classes."
            )
        return text

    def _reads_back(self, request: TaskRequest, text: str) -> bool:
        """Whether a sentence means what the canonical one does; what cannot be compared passes."""
        if self.read is None:
            return True
        meant = self._reading(canonical(request))
        return meant is None or self._reading(text) == meant

    def _reading(self, text: str) -> tuple[TaskRequest, ...] | None:
        if text not in self._meant:
            if len(self._meant) >= _REMEMBERED:
                self._meant.clear()
            try:
                found = self.read(text) if self.read is not None else ()
                self._meant[text] = tuple(replace(request, raw="") for request in found)
            except UnknownName:
                self._meant[text] = None
        return self._meant[text]


def corpus_of(requests: Iterable[TaskRequest], seed: int = 0) -> Iterator[str]:
    """Give two sentences for each question, one canonical and one drawn for training: what a tokenizer learns from."""
    generator = torch.Generator().manual_seed(seed)
    for request in requests:
        yield canonical(request)
        yield draw_phrase(request, generator, "train", noise=0.0)
