"""Regularisers: terms that one side or both add to their loss; one file a method."""

from .adaptive_mix import AdaptiveMix, mix_similarity
from .consistency import Consistency
from .gradient import R1, GradientPenalty
from .protocol import REGULARISERS, Regulariser, lazy_factor

__all__ = [
    "R1",
    "REGULARISERS",
    "AdaptiveMix",
    "Consistency",
    "GradientPenalty",
    "Regulariser",
    "lazy_factor",
    "mix_similarity",
]
