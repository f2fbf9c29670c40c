"""Day pictures as night pictures whose labels still hold, and the edges that must stay for it."""

from .augment import REFUSED, Night, NightAugmentation, name_share
from .edges import EdgeTeacher, SobelEdge, canny, log_luminance
from .generator import NIGHT_MODEL, NightGenerator, load_night, save_night
from .hed import HEDNet, load_edges, save_edges
from .losses import distillation_loss, edge_consistency, patch_nce
from .realism import DayNight
from .sheet import day_night_sheet, turn_to_night
from .stability import disturbed, hidden_edges, phase_shift, shift_difference
from .validity import Agreement, EdgeValidity, box_contrast, darkened, edge_agreement
from .wrap import wrap_night

__all__ = [
    "NIGHT_MODEL",
    "REFUSED",
    "Agreement",
    "DayNight",
    "EdgeTeacher",
    "EdgeValidity",
    "HEDNet",
    "Night",
    "NightAugmentation",
    "NightGenerator",
    "SobelEdge",
    "box_contrast",
    "canny",
    "darkened",
    "day_night_sheet",
    "distillation_loss",
    "disturbed",
    "edge_agreement",
    "edge_consistency",
    "hidden_edges",
    "load_edges",
    "load_night",
    "log_luminance",
    "name_share",
    "patch_nce",
    "phase_shift",
    "save_edges",
    "save_night",
    "shift_difference",
    "turn_to_night",
    "wrap_night",
]
