"""Day pictures as night pictures whose labels still hold, and the edges that must stay for it."""

from .augment import REFUSED, Night, NightAugmentation, name_share
from .edges import EdgeTeacher, SobelEdge, canny, log_luminance
from .generator import NightGenerator, load_night, save_night
from .hed import HEDNet, load_edges, save_edges
from .losses import distillation_loss, edge_consistency, patch_nce
from .sheet import day_night_sheet, turn_to_night
from .wrap import wrap_night

__all__ = [
    "REFUSED",
    "EdgeTeacher",
    "HEDNet",
    "Night",
    "NightAugmentation",
    "NightGenerator",
    "SobelEdge",
    "canny",
    "day_night_sheet",
    "distillation_loss",
    "edge_consistency",
    "load_edges",
    "load_night",
    "log_luminance",
    "name_share",
    "patch_nce",
    "save_edges",
    "save_night",
    "turn_to_night",
    "wrap_night",
]
