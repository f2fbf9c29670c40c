"""Conditioning: how labels enter generator and discriminator; one file a method."""

from .auxiliary import AuxiliaryClassifier
from .batch_norm import ConditionalBatchNorm
from .projection import Projection
from .protocol import CONDITIONS, Condition, Unconditional

__all__ = [
    "CONDITIONS",
    "AuxiliaryClassifier",
    "Condition",
    "ConditionalBatchNorm",
    "Projection",
    "Unconditional",
]
