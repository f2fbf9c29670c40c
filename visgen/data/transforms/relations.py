"""Transforms of scene graphs alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...structures import SceneGraph
from ..sample import Sample
from .base import TRANSFORMS

__all__ = ["OnePredicate"]


@TRANSFORMS.register("one_predicate")
@dataclass(frozen=True)
class OnePredicate:
    """Keep one triplet of each ordered pair, drawn evenly from those the pair has; for training only.

    A softmax over predicates can be taught one answer per pair, and the draw gives each annotation its turn. Evaluation
    leaves this out and keeps every triplet. Samples without a scene graph stay as they are.

    Source: Zellers et al. 2018, arXiv:1711.06640, whose loader draws in the same way.
    """

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        targets = {k: _one(v, generator) if isinstance(v, SceneGraph) else v for k, v in sample.targets.items()}
        return sample.replace(targets=targets)


def _one(graph: SceneGraph, generator: torch.Generator) -> SceneGraph:
    shuffled = torch.randperm(len(graph), generator=generator)
    pair = graph.triplets[:, 0] * len(graph.boxes) + graph.triplets[:, 1]
    order = shuffled[pair[shuffled].argsort(stable=True)]  # by pair, shuffled within each
    first = torch.ones(len(graph), dtype=torch.bool)
    first[1:] = pair[order][1:] != pair[order][:-1]
    return graph.select(order[first].sort().values)
