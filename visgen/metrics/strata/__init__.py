"""Where a model is weak: its figures on parts of a data set (classes, sizes, light, depths, compositions)."""

from .classification import ClassificationStrata
from .compare import Gap, compare_strata, draw_weights, stratum_values
from .depth import DepthStrata
from .detection import DetectionStrata
from .protocol import Part, StrataCollector, Stratum, Table
from .scene_graph import SceneGraphStrata
from .segmentation import SegmentationStrata
from .table import Detections, PrecisionTable, RatioTable

__all__ = [
    "ClassificationStrata",
    "DepthStrata",
    "Detections",
    "DetectionStrata",
    "Gap",
    "Part",
    "PrecisionTable",
    "RatioTable",
    "SceneGraphStrata",
    "SegmentationStrata",
    "StrataCollector",
    "Stratum",
    "Table",
    "compare_strata",
    "draw_weights",
    "stratum_values",
]
