"""Out-of-distribution detection: scores behind one interface, and the threshold that turns one into a verdict."""

from .pixel_scores import pixel_scores
from .scores import (
    KNN,
    MSP,
    OOD_SCORES,
    Energy,
    Mahalanobis,
    MaxLogit,
    MaxLogitMahalanobis,
    OODScore,
    build_score,
    shrunk_covariance,
)
from .threshold import kept_share, threshold_keeping

__all__ = [
    "KNN",
    "MSP",
    "OOD_SCORES",
    "Energy",
    "Mahalanobis",
    "MaxLogit",
    "MaxLogitMahalanobis",
    "OODScore",
    "build_score",
    "kept_share",
    "pixel_scores",
    "shrunk_covariance",
    "threshold_keeping",
]
