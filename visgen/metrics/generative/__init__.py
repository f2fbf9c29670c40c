"""Figures about generated images, through a feature network that the caller gives.

Distances are called FD-<network> and KD-<network>, never FID: without the Inception weights they are
another measurement.
"""

from .coverage import copy_check, inception_score, neighbourhood_figures
from .distance import frechet_distance, gaussian_distance, intra_class_frechet, jackknife, kernel_distance
from .network import FeatureNetwork, Seen, stack_pixels
from .report import generative_figures
from .spread import feature_spread

__all__ = [
    "FeatureNetwork",
    "Seen",
    "copy_check",
    "feature_spread",
    "frechet_distance",
    "gaussian_distance",
    "generative_figures",
    "inception_score",
    "intra_class_frechet",
    "jackknife",
    "kernel_distance",
    "neighbourhood_figures",
    "stack_pixels",
]
