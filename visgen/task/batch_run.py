"""A batch on its way through the heads of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..structures.scene_graph import mirrored_classes
from .protocol import TASKS

if TYPE_CHECKING:
    from .model import MultiTaskModel

__all__ = ["BatchRun"]


class BatchRun:
    """One batch on its way through the heads: each head's answer is computed once."""

    def __init__(
        self,
        model: MultiTaskModel,
        features: Mapping[str, Any],
        full: tuple[int, int],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        given: Mapping[str, tuple[str, Sequence[Any]]],
        mirrored: Mapping[str, Any],
    ) -> None:
        self.model, self.features, self.full, self.mirrored = model, features, full, mirrored
        self.valid, self.sizes, self.given = valid, sizes, given
        self.logits: dict[str, Any] = {}
        self.answers: dict[str, list[Any]] = {}

    def answer(self, name: str) -> list[Any]:
        """Give the typed values of a head, after those of the head below it."""
        if name in self.answers:
            return self.answers[name]
        model, spec = self.model, self.model.specs[name]
        task, below, route = TASKS.get(spec.task), model.below(name), model.route(name)
        if name in self.given:
            protocol, targets = self.given[name]
            queries = task.queries(targets, None, self.valid, protocol)
        elif below is not None:
            queries = task.queries(self.answer(below), self.logits[below], self.valid)
        else:
            queries = None
        head = model.head(name)
        logits, stride = self._see(name, queries)
        if task.mirrors and route in self.mirrored:
            turned = head(self.mirrored[route], queries)
            if (other := mirrored_classes(spec.classes)) is not None:
                turned = turned[:, list(other)]
            logits = (logits + (turned.flip(-1) if turned.ndim == 4 else turned)) / 2
        answers = task.decode(logits, spec.classes, self.valid, self.sizes, stride, **task.decode_options(head))
        weigher = model.weigher(name)
        if weigher is not None:
            logits, stride = self._see(weigher)
            answers = task.weigh(answers, logits, model.specs[weigher].classes, self.valid, stride)
        self.answers[name] = task.explain(
            answers, head, self.features[route], queries, None if below is None else model.specs[below]
        )
        return self.answers[name]

    def _see(self, name: str, queries: Any = None) -> tuple[Any, int]:
        """Give what a head says, and the pixels of the batch per cell where that is a map."""
        if name not in self.logits:
            self.logits[name] = self.model.head(name)(self.features[self.model.route(name)], queries)
        logits = self.logits[name]
        is_map = isinstance(logits, Tensor) and logits.ndim == 4
        return logits, round(self.full[0] / logits.shape[-2]) if is_map else 1
