"""The procedural world: streets and rooms, unlimited, seeded, with exact labels, by day and by night."""

from __future__ import annotations

from .config import KINDS, PREDICATES, SEMANTIC_CLASSES, TownConfig
from .render import Scene, SceneObject, render
from .source import TownSource, read_town, scene_sample

__all__ = [
    "KINDS",
    "PREDICATES",
    "SEMANTIC_CLASSES",
    "Scene",
    "SceneObject",
    "TownConfig",
    "TownSource",
    "read_town",
    "render",
    "scene_sample",
]
