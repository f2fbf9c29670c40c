"""What a procedural scene may contain: label sets, predicates and `TownConfig`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from visgen.errors import ConfigError, UnknownName, nearest

__all__ = [
    "IGNORED",
    "KINDS",
    "PREDICATES",
    "SEMANTIC_CLASSES",
    "TEXTURES",
    "TIMES",
    "TownConfig",
    "UNSEEN_KINDS",
    "UNSEEN_TEXTURES",
    "VISUAL_PREDICATES",
]

SURROUNDINGS = (
    "sky", "road", "sidewalk", "grass", "wall", "floor", "ceiling", "window", "door", "cord",
)  # fmt: skip
KINDS = (
    "building", "car", "bus", "truck", "person", "cyclist", "tree", "lamp", "sign", "dog", "box", "bench",
    "table", "chair", "shelf", "cabinet", "sofa", "bed", "tv", "picture", "bottle", "plant", "ball", "hat", "bag",
)  # fmt: skip
"""Object kinds: the classes of classification, detection and scene graphs, in label order."""
SEMANTIC_CLASSES = SURROUNDINGS + KINDS
"""Segmentation classes: surroundings first, then every object kind."""
UNSEEN_KINDS = ("snowman", "rocket", "mushroom", "cactus")
"""Kinds that no label set names; they appear in out-of-distribution scenes only, and their pixels are `IGNORED`."""
TEXTURES = ("plain", "noise", "stripes", "bands", "checker", "bricks", "planks", "tiles")
UNSEEN_TEXTURES = ("zigzag", "rings", "cells")
GEOMETRIC_PREDICATES = ("left of", "right of", "in front of", "behind", "on", "under")
VISUAL_PREDICATES = ("holding", "leading", "wearing", "plugged into", "pointing at", "matching")
PREDICATES = GEOMETRIC_PREDICATES + VISUAL_PREDICATES
IGNORED = 255
PRESETS = ("street", "room", "mixed")
TIMES = ("day", "night", "both", "random")
COMPOSITIONS = ("all", "seen", "heldout")


@dataclass(frozen=True)
class TownConfig:
    """Everything that a scene depends on besides its seed.

    Args:
        size: Image height and width in pixels, each at least 32.
        preset: "street", "room", or "mixed" (a fair coin for each seed).
        time: "day", "night", "random" (a fair coin for each seed), or "both" (a scene carries both pictures of the
            same world; a `TownSource` then lists each scene twice, day first).
        objects: Fewest and most objects that the layout tries to place, buildings and wall fittings not counted.
        focal: Range of the focal length in image widths.
        textures: False paints every surface plain; lane marks, windows and other meaning-bearing patterns stay.
        max_depth: Depth beyond this many metres is missing (0), as is the sky. At most 65.535, the 16-bit limit.
        min_pixels: An object with fewer visible pixels gets no box, mask or relation.
        favour: (kind, factor) pairs: how much oftener than usual the layout draws a kind, such as ("cyclist", 10.0); a
            mapping is taken too. Factors below 1 make a kind rare.
        distance: Nearest and farthest place of street objects in metres from the camera.
        links: Fewest and most visual relations that the layout tries to stage.
        ood_share: Share of scenes that hold one out-of-distribution object: an unseen kind, or a known kind in an
            unseen texture.
        unseen_kinds: Kinds kept out of ordinary scenes; regular kinds may be moved here to hold them out.
        absent_kinds: Kinds that no scene of this configuration holds; they keep their label (kinds kept for testing).
        unseen_textures: Textures kept out of ordinary scenes.
        relation_share: Share of the true relations that is written down, drawn with the seed; 1 lists all.
        holdout_triplets: (subject kind, predicate, object kind) compositions that are held out.
        composition: "all" ignores `holdout_triplets`; "seen" makes scenes in which none of them holds; "heldout"
            makes scenes that try to stage one of them.
        degrade: False leaves out lens blur, exposure error and sensor noise.
    Raises:
        ConfigError, UnknownName: a field breaks its rule.
    """

    size: tuple[int, int] = (192, 256)
    preset: str = "mixed"
    time: str = "day"
    objects: tuple[int, int] = (5, 12)
    focal: tuple[float, float] = (0.8, 1.2)
    textures: bool = True
    max_depth: float = 65.0
    min_pixels: int = 12
    favour: tuple[tuple[str, float], ...] = ()
    distance: tuple[float, float] = (3.0, 42.0)
    links: tuple[int, int] = (0, 2)
    ood_share: float = 0.0
    unseen_kinds: tuple[str, ...] = UNSEEN_KINDS
    absent_kinds: tuple[str, ...] = ()
    unseen_textures: tuple[str, ...] = UNSEEN_TEXTURES
    relation_share: float = 1.0
    holdout_triplets: tuple[tuple[str, str, str], ...] = ()
    composition: str = "all"
    degrade: bool = True

    def __post_init__(self) -> None:
        pairs = {"size": int, "objects": int, "links": int, "focal": float, "distance": float}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                value = tuple(value.items())
            if isinstance(value, list):
                value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
            if field.name in pairs:
                value = _pair(field.name, value, pairs[field.name])
            object.__setattr__(self, field.name, value)
        if min(self.size) < 32:
            raise ConfigError(f"size is {self.size}; height and width must be at least 32 pixels.")
        for name in ("objects", "links"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ConfigError(f"{name} is {(low, high)}; give (fewest, most) with 0 <= fewest <= most.")
        if not 0.3 <= self.focal[0] <= self.focal[1] <= 5:
            raise ConfigError(f"focal is {self.focal}; give (shortest, longest) image widths within 0.3 to 5.")
        if not 1 <= self.distance[0] < self.distance[1] <= 70:
            raise ConfigError(f"distance is {self.distance}; give (nearest, farthest) metres within 1 to 70.")
        for pair in self.favour:
            if len(pair) != 2 or not isinstance(pair[1], (int, float)) or not 0 < pair[1] <= 1000:
                raise ConfigError(f"favour holds {pair!r}; give (kind, factor) with a factor above 0, up to 1000.")
            _known("favoured kind", pair[0], KINDS)
        if not 1 <= self.max_depth <= 65.535:
            raise ConfigError(f"max_depth is {self.max_depth}; use 1 to 65.535 m (16-bit millimetres end there).")
        if self.min_pixels < 1:
            raise ConfigError(f"min_pixels is {self.min_pixels}; use 1 or more.")
        for name in ("ood_share", "relation_share"):
            share = getattr(self, name)
            if not (isinstance(share, (int, float)) and math.isfinite(share) and 0 <= share <= 1):
                raise ConfigError(f"{name} is {share}; a share lies within 0 to 1.")
        _known("preset", self.preset, PRESETS)
        _known("time", self.time, TIMES)
        _known("composition", self.composition, COMPOSITIONS)
        for kind in self.unseen_kinds:
            _known("unseen kind", kind, KINDS + UNSEEN_KINDS)
        for kind in self.absent_kinds:
            _known("absent kind", kind, KINDS)
        for texture in self.unseen_textures:
            _known("unseen texture", texture, TEXTURES + UNSEEN_TEXTURES)
        if "plain" in self.unseen_textures:
            raise ConfigError("unseen_textures holds 'plain', which every scene uses; leave it out.")
        if self.ood_share > 0 and not (self.unseen_kinds or self.unseen_textures):
            raise ConfigError(f"ood_share is {self.ood_share} but no kind or texture is unseen; name at least one.")
        for triplet in self.holdout_triplets:
            if len(triplet) != 3:
                raise ConfigError(
                    f"holdout triplet {triplet!r} has {len(triplet)} parts; give (subject, predicate, object)."
                )
            for kind in (triplet[0], triplet[2]):
                _known("triplet kind", kind, KINDS)
            _known("predicate", triplet[1], PREDICATES)
        if self.composition == "heldout" and not self.holdout_triplets:
            raise ConfigError("composition is 'heldout' but holdout_triplets is empty; name at least one triplet.")


def _pair(name: str, value: object, kind: type) -> tuple:
    """Two numbers of one type, or a ConfigError that names the field."""
    allowed = (int,) if kind is int else (int, float)
    if not isinstance(value, tuple) or len(value) != 2 or not all(type(v) in allowed for v in value):
        raise ConfigError(f"{name} is {value!r}; give two {'whole ' if kind is int else ''}numbers.")
    return kind(value[0]), kind(value[1])


def _known(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UnknownName(f"{what} '{name}' is not known{nearest(name, known)} Known: {', '.join(known)}.")
