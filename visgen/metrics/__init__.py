"""Figures of a data set: stateful metrics of each task, routing statistics, and the records behind figures."""

from __future__ import annotations

from .arms import arm_claim, arm_mean
from .bootstrap import bootstrap_over_best, paired_bootstrap
from .classification import ClassificationMetric
from .depth import ALIGNMENTS, DepthMetric, align_depth
from .detection import DetectionMetric
from .ood import OODMetric, auroc, ood_figures
from .ood_bootstrap import mean_auroc, paired_auroc
from .protocol import Metric
from .query import ChoiceMetric, QueryDetectionMetric, QuerySegmentationMetric
from .record import read_record, summarise, write_record
from .record_table import Figure, fill_table
from .retrieval import RetrievalMetric, mean_ap_trapezoid
from .routing import RoutingSummary, routing_summary
from .scene_graph import SceneGraphMetric
from .segmentation import SegmentationMetric, image_ious

__all__ = [
    "ALIGNMENTS",
    "ChoiceMetric",
    "ClassificationMetric",
    "DepthMetric",
    "DetectionMetric",
    "Figure",
    "Metric",
    "OODMetric",
    "QueryDetectionMetric",
    "QuerySegmentationMetric",
    "RetrievalMetric",
    "RoutingSummary",
    "SceneGraphMetric",
    "SegmentationMetric",
    "align_depth",
    "auroc",
    "arm_claim",
    "arm_mean",
    "fill_table",
    "image_ious",
    "mean_ap_trapezoid",
    "mean_auroc",
    "ood_figures",
    "paired_auroc",
    "bootstrap_over_best",
    "paired_bootstrap",
    "read_record",
    "routing_summary",
    "summarise",
    "write_record",
]
