"""Heads: Features to logits. The same class serves every backbone."""

from .classification import ClassificationHead
from .depth import DepthHead
from .detection import DetectionHead
from .orthogonal import OrthogonalHead
from .protocol import HEADS, Head
from .pyramid_decoder import PyramidDecoder
from .retrieval import RetrievalHead
from .scene_graph import GraphLogits, GraphQueries, SceneGraphHead
from .scene_graph_map import MapGraphHead
from .segmentation import SegmentationHead

__all__ = [
    "HEADS",
    "ClassificationHead",
    "DepthHead",
    "DetectionHead",
    "GraphLogits",
    "GraphQueries",
    "Head",
    "MapGraphHead",
    "OrthogonalHead",
    "PyramidDecoder",
    "RetrievalHead",
    "SceneGraphHead",
    "SegmentationHead",
]
