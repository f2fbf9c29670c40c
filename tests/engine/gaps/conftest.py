"""A predictor that knows the truth and spoils it where it is told to."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from visgen.data import build_source
from visgen.nn.luma import mean_luma
from visgen.structures import SemanticMap


class Spoiled:
    """Answers the semantic maps of a source, without some classes, and with noise where pictures are dark."""

    def __init__(self, source: Any, never: tuple[str, ...] = (), dark: float = 0.0) -> None:
        self.source, self.never, self.dark = source, never, dark
        head = source.heads["segmentation"]
        self.specs = {head: SimpleNamespace(task="segmentation", classes=source.classes["segmentation"])}
        self.truth = {self._key(s.image): s.targets["segmentation"] for s in source}

    def _key(self, image: torch.Tensor) -> bytes:
        return (image * 255).round().to(torch.uint8).numpy().tobytes()

    def resolve(self, name: str) -> str:
        return name if name in self.specs else next(iter(self.specs))

    def below(self, name: str) -> None:
        return None

    def head(self, name: str) -> None:
        return None

    def predict(self, images: torch.Tensor, heads: list[str], *, sizes: Any = None, given: Any = None) -> dict:
        answers = []
        for image in images:
            truth = self.truth[self._key(image)]
            ids = torch.where(truth.ids == 255, 0, truth.ids)
            for name in self.never:
                ids = torch.where(ids == truth.classes.index(name), 0, ids)
            if float(mean_luma(image)) < self.dark:
                ids = (ids + 1) % len(truth.classes)
            answers.append(SemanticMap(ids, truth.classes))
        return {heads[0]: answers}


@pytest.fixture(scope="session")
def town() -> Any:
    """Thirty small streets by day and by night."""
    from visgen.data import Cached

    return Cached(build_source("town:street?size=32x48&count=60&time=both&tasks=segmentation&min_pixels=4", "val"))


@pytest.fixture
def spoiled() -> Callable[..., Spoiled]:
    return Spoiled
