"""The procedural world: streets and rooms, unlimited, seeded, with exact labels, by day and by night.

`render(seed, TownConfig(...))` gives one `Scene`; `TownSource` and the data format "town" give samples; `write_dataset`
writes files in public layouts; `contact_sheet` shows them. It serves tests, demos, pre-training and controlled
experiments, and never stands in for a result on photographs.
"""

from __future__ import annotations

from .config import KINDS, PREDICATES, SEMANTIC_CLASSES, VISUAL_PREDICATES, TownConfig
from .presets import compositions, instruct_scenes, night_town, toy_vg
from .relations import holdout_compositions
from .scene import Scene, SceneObject, render
from .sheet import contact_sheet
from .source import TownSource, read_town, scene_meta, scene_sample
from .write import write_dataset

__all__ = [
    "KINDS",
    "PREDICATES",
    "SEMANTIC_CLASSES",
    "VISUAL_PREDICATES",
    "Scene",
    "SceneObject",
    "TownConfig",
    "TownSource",
    "compositions",
    "contact_sheet",
    "holdout_compositions",
    "instruct_scenes",
    "night_town",
    "read_town",
    "render",
    "scene_meta",
    "scene_sample",
    "toy_vg",
    "write_dataset",
]
