"""Sentences for questions: fresh phrasings in training, all short enough for the text encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random

import torch

from ..errors import DataError
from ..language import TaskRequest
from ..language.phrases import canonical, draw_phrase

__all__ = ["Wording", "corpus_of"]

_TRIES = 4


class Wording:
    """Write a question as a sentence that the text encoder can hold.

    Args:
        count: Tokens of a sentence, begin and end included.
        most: Most tokens.
        plain: Share of canonical sentences in training, which are what a parsed instruction becomes in use.
        split: Split of the phrase grammar that other sentences are drawn from.
    """

    def __init__(self, count: Callable[[str], int], most: int, plain: float = 0.3, split: str = "train") -> None:
        self.count, self.most, self.plain, self.split = count, most, plain, split

    def __call__(self, request: TaskRequest, random: Random) -> str:
        """Draw a sentence.

        Raises:
            DataError: Not even the canonical sentence is short enough.
        """
        if random.random() >= self.plain:
            generator = torch.Generator().manual_seed(random.getrandbits(48))
            for _ in range(_TRIES):
                text = draw_phrase(request, generator, self.split)
                if self.count(text) <= self.most:
                    return text
        text = canonical(request)
        if self.count(text) > self.most:
            raise DataError(
                f"'{text}' has {self.count(text)} tokens but the text encoder takes {self.most}; name fewer or shorter "
                "classes."
            )
        return text


def corpus_of(requests: Iterable[TaskRequest], seed: int = 0) -> Iterator[str]:
    """Give two sentences for each question, one canonical and one drawn for training: what a tokenizer learns from."""
    generator = torch.Generator().manual_seed(seed)
    for request in requests:
        yield canonical(request)
        yield draw_phrase(request, generator, "train", noise=0.0)
