"""Ready configurations: the controlled worlds that experiments name."""

from __future__ import annotations

from .config import VISUAL_PREDICATES, TownConfig
from .relations import holdout_compositions

__all__ = ["PRESETS", "compositions", "instruct_scenes", "night_town", "toy_vg"]

TOY_KINDS = (
    "car",
    "person",
    "cyclist",
    "lamp",
    "sign",
    "dog",
    "box",
    "table",
    "chair",
    "shelf",
    "cabinet",
    "sofa",
    "bench",
    "tv",
    "bottle",
    "plant",
    "ball",
    "hat",
    "bag",
)


def night_town(**changes: object) -> TownConfig:
    """Streets for training by day and testing by night; `time="night"` or "both" shows the same labels by night."""
    return TownConfig(**{"preset": "street", "links": (0, 0), **changes})  # type: ignore[arg-type]


def toy_vg(composition: str = "seen", **changes: object) -> TownConfig:
    """Small scene graphs whose visual predicates boxes alone cannot tell, with 15 % of the compositions held out.

    A tenth of the true relations is written down, as human annotators do; give `relation_share=1` to list all.

    Args:
        composition: "seen" for training, "heldout" for scenes that stage held-out compositions, "all" for both.
    """
    base = {
        "objects": (3, 8),
        "links": (1, 3),
        "relation_share": 0.1,
        "composition": composition,
        "holdout_triplets": holdout_compositions(0.15, kinds=TOY_KINDS),
        "absent_kinds": ("building", "tree", "truck", "bus", "picture"),
    }
    return TownConfig(**{**base, **changes})  # type: ignore[arg-type]


def compositions(composition: str = "seen", **changes: object) -> TownConfig:
    """Scene graphs for the question how well a model names appearance in compositions that training never shows.

    Like `toy_vg`, but with more drawn relations in a scene, and a quarter of each visual predicate's compositions held
    out and no geometric one, so that scenes for training lose little. A quarter of the true relations is written down,
    one for every 13 ordered pairs; Visual Genome has one for every 15.

    Args:
        composition: "seen" for training, "heldout" for scenes that stage held-out compositions, "all" for both.
    """
    held = holdout_compositions(0.25, kinds=TOY_KINDS, each=True)
    base = {
        "objects": (4, 9),
        "links": (2, 5),
        "relation_share": 0.25,
        "composition": composition,
        "holdout_triplets": tuple(c for c in held if c[1] in VISUAL_PREDICATES),
        "absent_kinds": ("building", "tree", "truck", "bus", "picture"),
    }
    return TownConfig(**{**base, **changes})  # type: ignore[arg-type]


def instruct_scenes(heldout_kinds: bool = False, **changes: object) -> TownConfig:
    """Scenes for instructions: few objects, links, a tenth of them out of distribution.

    Args:
        heldout_kinds: False leaves out the four kinds kept for testing (truck, bench, sofa, plant), True shows all.
    """
    strange = ("snowman", "rocket", "mushroom", "cactus")
    hidden = () if heldout_kinds else ("truck", "bench", "sofa", "plant")
    base = {
        "size": (128, 128),
        "objects": (3, 7),
        "links": (0, 2),
        "ood_share": 0.1,
        "unseen_kinds": strange,
        "absent_kinds": hidden,
    }
    return TownConfig(**{**base, **changes})  # type: ignore[arg-type]


PRESETS = {"night_town": night_town, "toy_vg": toy_vg, "compositions": compositions, "instruct": instruct_scenes}
"""Names that the data format "town" takes beside "street", "room" and "mixed"."""
