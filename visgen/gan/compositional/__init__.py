"""Scene-graph training data in new compositions: perturbed graphs, and what they would look like to a backbone.

A run file asks for them with the objective "compositional" (`visgen.task.compositional`), here rare compositions of
relations that training shows at least twice:

    objective: {name: compositional, options: {perturb: {name: graphn, alpha: 2, share: 0.2, nearest: 5}}}

`perturb` takes what `build_perturbation` takes; null leaves graphs as they are.
"""

from .bank import FeatureBank
from .config import CompositionalConfig
from .generator import FeatureGenerator
from .graph import GraphBatch
from .judges import Judges, MapJudge, RegionJudge
from .layout import box_cover, collage, paste_tiles, swap_tiles
from .perturb import PERTURBATIONS, Perturbation, Perturbed, build_perturbation, count_table
from .vectors import graph_vectors, nearest_classes, read_vectors

__all__ = [
    "PERTURBATIONS",
    "CompositionalConfig",
    "FeatureBank",
    "FeatureGenerator",
    "GraphBatch",
    "Judges",
    "MapJudge",
    "Perturbation",
    "Perturbed",
    "RegionJudge",
    "box_cover",
    "build_perturbation",
    "collage",
    "count_table",
    "graph_vectors",
    "nearest_classes",
    "paste_tiles",
    "read_vectors",
    "swap_tiles",
]
