"""Out-of-distribution detection: scores behind one interface, and the threshold that turns one into a verdict."""

from .combined import MaxLogitMahalanobis
from .distance_scores import KNN, Mahalanobis, RelativeMahalanobis, shrunk_covariance
from .logit_scores import MSP, Energy, JointEnergy, MaxLogit
from .pixel_scores import pixel_scores
from .readout_scores import ReAct, SubspaceAngle, ViM
from .routing_score import RoutingUsage
from .score import OOD_SCORES, OODScore, build_score
from .table import score_table
from .threshold import kept_share, threshold_keeping

__all__ = [
    "KNN",
    "MSP",
    "OOD_SCORES",
    "Energy",
    "JointEnergy",
    "Mahalanobis",
    "MaxLogit",
    "MaxLogitMahalanobis",
    "OODScore",
    "ReAct",
    "RelativeMahalanobis",
    "RoutingUsage",
    "SubspaceAngle",
    "ViM",
    "build_score",
    "kept_share",
    "pixel_scores",
    "score_table",
    "shrunk_covariance",
    "threshold_keeping",
]
