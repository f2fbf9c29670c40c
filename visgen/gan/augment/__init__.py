"""Differentiable augmentation of what the discriminator sees; one file a method."""

from .adaptive import AdaptiveAugment
from .diff_augment import DiffAugment
from .protocol import AUGMENTS, AugmentPipe

__all__ = ["AUGMENTS", "AdaptiveAugment", "AugmentPipe", "DiffAugment"]
