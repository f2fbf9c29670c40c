"""Out-of-distribution detection: scores behind one interface, and the threshold that turns one into a verdict."""

from .choice import DEFAULT_SCORE, choose_score, choose_training, default_score, table_of_halves
from .combined import MaxLogitMahalanobis
from .distance_scores import KNN, Mahalanobis, RelativeMahalanobis, shrunk_covariance
from .logit_scores import MSP, Energy, JointEnergy, MaxLogit
from .pixel_scores import pixel_scores
from .readout_scores import ReAct, SubspaceAngle, ViM
from .routing_score import RoutingUsage
from .score import OOD_SCORES, OODScore, build_score
from .table import fit_scores, score_table, table_of
from .threshold import kept_share, threshold_keeping

__all__ = [
    "DEFAULT_SCORE",
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
    "choose_score",
    "choose_training",
    "default_score",
    "fit_scores",
    "kept_share",
    "pixel_scores",
    "score_table",
    "shrunk_covariance",
    "table_of",
    "table_of_halves",
    "threshold_keeping",
]
