"""Which classes are alike: vectors of class names from a table, or from the relations of the training graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ConfigError, DataError

__all__ = ["graph_vectors", "nearest_classes", "read_vectors"]

SMOOTHING = 0.75  # power on how often a context occurs, Levy et al. 2015, section 3.2


def read_vectors(path: str | Path, names: Sequence[str]) -> Tensor:
    """Read the vectors of class names from a text table in the layout of GloVe.

    Args:
        path: One word per line with its numbers behind it, all separated by single spaces.
        names: Class names; one of several words takes the mean of its words.
    Returns:
        (K, D) float32, each of unit norm.
    Raises:
        DataError: No such file, a word that it lacks, or lines of unequal length.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"no table of word vectors at '{path}'; give a file in GloVe's layout, or none.")
    wanted = {word for name in names for word in _words(name)}
    found: dict[str, Tensor] = {}
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word in wanted:
                try:
                    found[word] = torch.tensor([float(v) for v in rest.split(" ")])
                except ValueError as error:
                    raise DataError(f"'{path}' has a line for '{word}' that is not numbers: {error}.") from error
    missing = sorted(wanted - set(found))
    if missing:
        raise DataError(
            f"'{path}' has no vector for {', '.join(repr(w) for w in missing[:5])} ({len(missing)} words missing); add "
            "them, or rename the classes."
        )
    lengths = sorted({len(v) for v in found.values()})
    if len(lengths) > 1:
        raise DataError(f"'{path}' has vectors of {lengths[0]} and of {lengths[-1]} numbers; all must be equally long.")
    mean = [torch.stack([F.normalize(found[w], dim=0) for w in _words(name)]).mean(0) for name in names]
    return F.normalize(torch.stack(mean), dim=1)


def graph_vectors(counts: Tensor, width: int = 32) -> Tensor:
    """Give vectors of classes from what they are related to: no table, no download.

    The positive pointwise mutual information of each class with its contexts (subject of this predicate with that
    object; object of it with that subject), reduced by a singular value decomposition. Classes that stand in the same
    relations come close; that differs from what their names mean elsewhere.

    Args:
        counts: (K, P, K) how often training shows subject, predicate, object.
        width: Most numbers D of a vector; at most K.
    Returns:
        (K, D) float32 of unit norm; zeros for a class without a relation.
    Source: Levy et al. 2015, "Improving Distributional Similarity with Lessons Learned from Word Embeddings".
    """
    classes = len(counts)
    table = torch.cat([counts.reshape(classes, -1), counts.permute(2, 1, 0).reshape(classes, -1)], dim=1).double()
    total = table.sum()
    if total == 0:
        raise DataError("the training graphs have 0 relations, so classes cannot be compared by them; give vectors.")
    context = table.sum(0).pow(SMOOTHING)
    share = context / context.sum()
    joint = table / total
    own = joint.sum(1, keepdim=True)
    information = torch.where(table > 0, (joint / (own * share).clamp(min=1e-300)).log(), 0.0).clamp(min=0)
    left, values, _ = torch.linalg.svd(information, full_matrices=False)
    values = values * (values > 1e-10 * values[0])  # beyond the rank there is rounding alone
    kept = (left * values.sqrt())[:, : min(width, classes)]
    kept[~information.any(dim=1)] = 0.0  # which would be brought to length 1
    return F.normalize(kept, dim=1).float()


def nearest_classes(vectors: Tensor, k: int) -> Tensor:
    """Give the k classes (K, k) int64 with the largest cosine to each, the nearest first, never the class itself.

    A class without a vector (zeros) comes last.

    Raises:
        ConfigError: k is outside 0..K-1.
    """
    count = len(vectors)
    if not 0 <= k < count:
        raise ConfigError(
            f"{k} neighbours were asked for, but {count} classes have {count - 1} each; use 0..{count - 1}."
        )
    unit = F.normalize(vectors.float(), dim=1)
    cosine = unit @ unit.T
    cosine[:, ~unit.any(dim=1)] = -2.0
    cosine.fill_diagonal_(-math.inf)
    return cosine.argsort(dim=1, descending=True, stable=True)[:, :k]


def _words(name: str) -> list[str]:
    return name.lower().replace("_", " ").replace("-", " ").split()
