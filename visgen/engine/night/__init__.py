"""Does it help to train by generated night? The same training in several arms, tested by real or rendered night."""

from .answers import Agreement, agreement, brighten, settled_map
from .arms import ARMS, RIVALS, Arm, choose_arms, compare_arms, match_histograms, night_generators, shift_pictures
from .grain import add_grain, estimate_noise
from .places import PlacesStudy, folds_of
from .street import StreetStudy, gather_measures, street_sets

__all__ = [
    "ARMS",
    "RIVALS",
    "Agreement",
    "Arm",
    "PlacesStudy",
    "StreetStudy",
    "add_grain",
    "agreement",
    "brighten",
    "choose_arms",
    "compare_arms",
    "estimate_noise",
    "folds_of",
    "gather_measures",
    "match_histograms",
    "night_generators",
    "settled_map",
    "shift_pictures",
    "street_sets",
]
