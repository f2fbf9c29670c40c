"""Photographs and answers as pictures of one size: what the VAE learns to keep."""

from __future__ import annotations

from random import Random

import torch

from ..data import Sample, Source
from .codec import CodecSettings, codec_for
from .queries import QueryConfig, canvas_image, draw_queries

__all__ = ["CanvasPictures"]


class CanvasPictures:
    """A source of pictures without targets: item 2k is photograph k of a source on the canvas, 2k + 1 an answer to it.

    Photographs and answers so come in equal parts. Where a photograph can answer nothing, it stands in for the answer.

    Args:
        source: Labelled images.
        queries: What is asked of them.
        settings: Of the codecs.
        size: (height, width) of the canvas.
        seed: Of the questions; item by item, so that a sample is the same each time.
    """

    def __init__(
        self, source: Source, queries: QueryConfig, settings: CodecSettings, size: tuple[int, int], seed: int = 0
    ) -> None:
        self.source, self.queries, self.settings, self.size, self.seed = source, queries, settings, size, seed
        self.name = f"pictures of {source.name}"
        self.heads: dict[str, str] = {}
        self.classes: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return 2 * len(self.source)

    def __getitem__(self, index: int) -> Sample:
        sample = self.source[index // 2]
        picture, is_answer = canvas_image(sample, self.size), False
        if index % 2:
            random = Random(f"{self.seed}/{index}")
            drawn = list(draw_queries(sample, self.queries, self.settings, random))
            if drawn:
                query, is_answer = random.choice(drawn), True
                picture, _ = query.picture(codec_for(query.request, self.settings), self.size)
        pixels = ((picture + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return Sample(pixels, {}, {"is_answer": is_answer})
