"""How far an exported file's answer about a picture lies from the pipeline's, both as typed values."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from ..structures import Boxes, Classification, DepthMap, OODVerdict, SemanticMap
from .parity import difference

__all__ = ["ANSWER_TOLERANCE", "answer_difference"]

ANSWER_TOLERANCE = 1e-3


def answer_difference(found: Any, wanted: Any) -> float:
    """Give how far one typed answer lies from another of its kind; 0 where they are equal.

    Args:
        found, wanted: Two answers about one picture.
    Returns:
        Classification: the largest difference of a probability. Segmentation: the share of pixels of another class.
        Depth and OOD score: the largest |a - b| / (1 + |b|). Boxes, best first: the largest difference of a score, or
        of a corner as a share of the longer side; 1 where their number or their classes differ.
    Raises:
        ConfigError: Answers of two kinds, or of one that has no measure here.
    """
    if type(found) is not type(wanted):
        raise ConfigError(f"a {type(found).__name__} cannot be compared with a {type(wanted).__name__}.")
    if isinstance(wanted, Classification):
        return float((found.probabilities - wanted.probabilities).abs().max())
    if isinstance(wanted, SemanticMap):
        return float((found.ids != wanted.ids).float().mean())
    if isinstance(wanted, DepthMap):
        return difference(found.metres, wanted.metres)
    if isinstance(wanted, OODVerdict):
        return difference(found.score, wanted.score)
    if isinstance(wanted, Boxes):
        return _boxes(found, wanted)
    raise ConfigError(f"a {type(wanted).__name__} has no measure of difference.")


def _boxes(found: Boxes, wanted: Boxes) -> float:
    if len(found) != len(wanted) or found.labels.tolist() != wanted.labels.tolist():
        return 1.0
    if not len(wanted) or found.scores is None or wanted.scores is None:
        return 0.0
    corners = float((found.xyxy - wanted.xyxy).abs().max()) / max(wanted.size)
    return max(corners, float((found.scores - wanted.scores).abs().max()))
