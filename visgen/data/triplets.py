"""How often each triplet of classes occurs in a source: what zero-shot, n-shot and frequency figures rest on."""

from __future__ import annotations

from collections import Counter

from ..errors import DataError
from .source import Source

__all__ = ["triplet_counts"]


def triplet_counts(source: Source) -> Counter[tuple[str, str, str]]:
    """Count the (subject class, predicate, object class) triplets of all annotated relations of a source.

    A triplet with count 0 in training is a zero-shot triplet. Counters add: where the field calls "unseen" what neither
    train nor val shows (Visual Genome's test split), give `triplet_counts(train) + triplet_counts(val)`.

    Args:
        source: Samples with the target "scene_graph". The readers give graphs without decoding images (`graph_of`);
            from any other source every sample is read.
    Raises:
        DataError: A sample has no scene graph.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    graph_of = getattr(source, "graph_of", None)
    for index in range(len(source)):
        graph = graph_of(index) if graph_of else source[index].targets.get("scene_graph")
        if graph is None:
            raise DataError(
                f"sample {index} of source '{source.name}' has no target 'scene_graph'; open the source with it."
            )
        counts.update(graph.names)
    return counts
