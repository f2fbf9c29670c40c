"""Loss functions: pure functions of tensors, one file per task."""

from .adaptive_mix import draw_mix, mix_rows, mixed_cross_entropy, shrink_loss
from .class_weights import class_weight_vector
from .classification import classification_loss
from .depth import (
    berhu_loss,
    depth_loss,
    gradient_matching_loss,
    log_l1_loss,
    scale_invariant_log_loss,
)
from .detection import Assignment, assign_points, decode_rows, detection_loss
from .retrieval import ClusterHardNegativeMiner, DiverseAnchorSampler, contrastive_tuple_loss
from .scene_graph import EDGE_NORMS, edge_loss, edge_targets
from .segmentation import (
    dice_loss,
    lovasz_softmax_loss,
    segmentation_cross_entropy,
    segmentation_loss,
)

__all__ = [
    "EDGE_NORMS",
    "Assignment",
    "ClusterHardNegativeMiner",
    "DiverseAnchorSampler",
    "assign_points",
    "berhu_loss",
    "class_weight_vector",
    "classification_loss",
    "contrastive_tuple_loss",
    "decode_rows",
    "depth_loss",
    "detection_loss",
    "dice_loss",
    "draw_mix",
    "edge_loss",
    "edge_targets",
    "gradient_matching_loss",
    "log_l1_loss",
    "lovasz_softmax_loss",
    "mix_rows",
    "mixed_cross_entropy",
    "scale_invariant_log_loss",
    "segmentation_cross_entropy",
    "segmentation_loss",
    "shrink_loss",
]
