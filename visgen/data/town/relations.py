"""Relations between visible objects: some follow from boxes and depth, some are drawn and visible only as appearance.

Geometric predicates, from labels alone (`box`, `depth`, `low`, `high` and `top` of a SceneObject):
- a "on" b: a stands on b: its foot is at the height of b's top surface and its middle above it; b "under" a.
- a "in front of" b: the boxes share at least 30 % of the smaller one and a's median depth is below 0.88 of b's, and
  neither stands on the other nor is a relation drawn between them, and not both are buildings; b "behind" a.
- a "left of" b: a's box ends before b's begins, the gap is at most the mean of their widths, they share at least half
  of the smaller height, and the nearer median depth is at least 0.7 of the farther one; b "right of" a. Buildings take
  no part.
Visual predicates (`VISUAL_PREDICATES`) hold where the layout drew an arm, a leash, a cord, something worn, or one rare
pattern on both; "matching" holds both ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Protocol
from zlib import crc32

from .config import KINDS, SURROUNDINGS, VISUAL_PREDICATES
from .things import Top

__all__ = ["INVERSES", "LINKS", "Related", "composition_weight", "geometric", "true_relations", "holdout_compositions"]

INVERSES = {
    "left of": "right of", "right of": "left of", "in front of": "behind", "behind": "in front of", "on": "under",
    "under": "on", "matching": "matching",
}  # fmt: skip
LINKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "holding": (("person", "dog"), ("ball", "bottle", "bag", "hat", "plant", "box")),
    "leading": (("person", "cyclist", "dog"), ("dog", "ball", "bag", "box", "car")),
    "wearing": (("person", "dog", "cyclist"), ("hat", "bag")),
    "plugged into": (("lamp", "tv", "sign", "car", "box"), ("box", "cabinet", "table", "shelf", "sofa", "bench")),
    "pointing at": (
        ("person", "cyclist"),
        ("car", "dog", "ball", "lamp", "tv", "chair", "plant", "sign", "box", "bag", "table"),
    ),
    "matching": (
        ("car", "box", "ball", "chair", "bag", "person", "table"),
        ("car", "box", "ball", "chair", "bag", "person", "table"),
    ),
}
"""Visual predicate to the subject kinds and the object kinds that the layout links."""
assert set(LINKS) == set(VISUAL_PREDICATES)
assert not set(SURROUNDINGS) & set(KINDS)


class Related(Protocol):
    """What a geometric relation is read from."""

    instance: int
    kind: str
    box: tuple[int, int, int, int]
    depth: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    top: Top | None
    middle: tuple[float, float]


def composition_weight(subject: str, predicate: str, target: str) -> float:
    """How often the layout links a composition: a Zipf law over a fixed random rank of the three names."""
    return 1.0 / (1 + crc32(f"{subject}/{predicate}/{target}".encode()) % 12)


def geometric(a: Related, b: Related, linked: bool = False) -> str | None:
    """The geometric predicate from a to b, or None; `linked` says that a drawn relation joins them."""
    if a.kind == b.kind == "building":
        return None
    if _stands_on(a, b):
        return "on"
    if _stands_on(b, a):
        return "under"
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    smaller = min(_area(a.box), _area(b.box))
    if width > 0 and height > 0:
        if linked or width * height < 0.3 * smaller:
            return None
        if a.depth < 0.88 * b.depth:
            return "in front of"
        return "behind" if b.depth < 0.88 * a.depth else None
    if "building" in (a.kind, b.kind):
        return None
    gap = -width
    wide = (a.box[2] - a.box[0] + b.box[2] - b.box[0]) / 2
    tall = min(a.box[3] - a.box[1], b.box[3] - b.box[1])
    if gap < 0 or gap > wide or height < 0.5 * tall or min(a.depth, b.depth) < 0.7 * max(a.depth, b.depth):
        return None
    return "left of" if a.box[2] <= b.box[0] else "right of"


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _stands_on(a: Related, b: Related) -> bool:
    if b.top is None or abs(a.low[1] - b.top.height) > 0.02 or a.kind == "building":
        return False
    x, z = a.middle
    return abs(x - b.middle[0]) <= b.top.half_x and abs(z - b.middle[1]) <= b.top.half_z


def true_relations(objects: Sequence[Related], links: Iterable[tuple[int, str, int]]) -> list[tuple[int, str, int]]:
    """Every relation between visible objects, as (subject index, predicate, object index), in index order."""
    index = {o.instance: i for i, o in enumerate(objects)}
    drawn = [(index[s], p, index[o]) for s, p, o in links if s in index and o in index]
    drawn += [(o, p, s) for s, p, o in drawn if p == "matching"]
    joined = {frozenset((s, o)) for s, p, o in drawn if p != "matching"}
    found = list(drawn)
    for i, a in enumerate(objects):
        for j in range(i + 1, len(objects)):
            predicate = geometric(a, objects[j], frozenset((i, j)) in joined)
            if predicate:
                found += [(i, predicate, j), (j, INVERSES[predicate], i)]
    return sorted(set(found), key=lambda r: (r[0], r[2], r[1]))


def holdout_compositions(
    share: float = 0.15, seed: int = 0, kinds: Sequence[str] = KINDS, each: bool = False
) -> tuple[tuple[str, str, str], ...]:
    """Draw compositions to hold out such that every (subject, predicate) and (predicate, object) stays represented.

    Candidates are all compositions in `LINKS`, and geometric ones between `kinds` other than buildings; a geometric or
    symmetric composition is held out together with its inverse.

    Args:
        share: Share of the candidates, 0..0.5.
        seed: Another seed draws others.
        kinds: Kinds that may take part.
        each: Hold out the share of each visual predicate's compositions, and of the geometric ones together; else of
            all visual ones together, where predicates with few of them may lose almost none.
    """
    kinds = [k for k in kinds if k != "building"]
    visual = [(s, p, o) for p, (ss, oo) in LINKS.items() for s in ss for o in oo if s != o and {s, o} <= set(kinds)]
    spatial = [(s, p, o) for p in ("left of", "in front of") for s in kinds for o in kinds if s != o]
    held: set[tuple[str, str, str]] = set()
    apart = [[c for c in visual if c[1] == p] for p in LINKS]
    for group in (*apart, spatial) if each else (visual, spatial):
        rng = Random(f"holdout {seed}")
        candidates = group + [(o, INVERSES[p], s) for s, p, o in group if p in INVERSES and p != "matching"]
        left = set(candidates)
        wanted = share * len(candidates)
        taken: set[tuple[str, str, str]] = set()
        for s, p, o in rng.sample(group, len(group)):
            both = {(s, p, o)} | ({(o, INVERSES[p], s)} if p in INVERSES else set())
            if len(taken) >= wanted or both & taken:
                continue
            rest = left - both
            if all(_represented(rest, c) for c in both):
                left, taken = rest, taken | both
        held |= taken
    return tuple(sorted(held))


def _represented(rest: set[tuple[str, str, str]], composition: tuple[str, str, str]) -> bool:
    s, p, o = composition
    return any((a, b) == (s, p) for a, b, _ in rest) and any((b, c) == (p, o) for _, b, c in rest)
