"""Words for a scene: a caption, and instructions whose answers the labels hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from .config import KINDS, VISUAL_PREDICATES

if TYPE_CHECKING:
    from .scene import SceneObject

__all__ = ["plural", "write_caption", "write_instructions"]

PLURALS = {"person": "people", "bus": "buses", "box": "boxes", "bench": "benches", "shelf": "shelves"}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
FINITE = {
    "holding": "is holding", "leading": "is leading", "wearing": "is wearing", "plugged into": "is plugged into",
    "pointing at": "is pointing at", "matching": "matches", "on": "is on", "under": "is under",
    "in front of": "is in front of", "behind": "is behind", "left of": "is left of", "right of": "is right of",
}  # fmt: skip
Relations = Sequence[tuple[int, str, int]]


def plural(kind: str) -> str:
    """The plural of a kind."""
    return PLURALS.get(kind, kind + "s")


def _one(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def write_caption(preset: str, time: str, objects: Sequence[SceneObject], relations: Relations) -> str:
    """One or two sentences: the place and time, the kinds with their number, and the most telling relation."""
    counts = Counter(o.kind for o in sorted(objects, key=lambda o: -o.area) if o.label >= 0)
    parts = []
    for kind, number in list(counts.items())[:5]:
        alone = [o for o in objects if o.kind == kind]
        if number == 1 and kind != "building":
            parts.append(_one(f"{alone[0].paint} {kind}" if kind in PAINTED else kind))
        else:
            parts.append(_one(kind) if number == 1 else f"{NUMBERS[number] if number < 11 else number} {plural(kind)}")
    place = f"A {preset} by {time}"
    text = f"{place}." if not parts else f"{place} with {_join(parts)}."
    telling = [r for r in relations if r[1] in VISUAL_PREDICATES] or [r for r in relations if r[1] == "on"]
    if telling:
        known = [o for o in objects if o.label >= 0]
        s, p, o = telling[0]
        text += f" {_one(known[s].kind).capitalize()} {FINITE[p]} {_one(known[o].kind)}."
    return text


PAINTED = ("car", "bus", "box", "chair", "sofa", "cabinet", "ball", "hat", "bag", "bottle")
"""Kinds whose paint covers most of them, so that a colour word tells them apart."""


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def write_instructions(
    seed: int, objects: Sequence[SceneObject], relations: Relations, ood: bool
) -> list[dict[str, Any]]:
    """Instructions in plain English with what they mean.

    Each is {"task", "text", "categories", "present", "rows"}: the task key, the kinds asked for, whether the scene
    answers it, and the rows of `meta["objects"]` that the answer holds. Scene-graph entries add "relation"
    [subject kind, predicate, object kind]; counts add "count"; panels add "choices" and "answer".
    """
    rng = Random(f"instructions {seed}")
    known = [o for o in objects if o.label >= 0]
    rows: dict[str, list[int]] = {}
    for i, o in enumerate(known):
        rows.setdefault(o.kind, []).append(i)
    here = sorted(rows)
    absent = [k for k in KINDS if k not in rows]
    out: list[dict[str, Any]] = []

    def add(task: str, text: str, categories: Sequence[str], found: Sequence[int], **more: Any) -> None:
        present = more.pop("present", bool(found))
        out.append(
            {
                "task": task,
                "text": text,
                "categories": list(categories),
                "present": present,
                "rows": list(found),
                **more,
            }
        )

    if here:
        kind = rng.choice(here)
        add(
            "segmentation",
            rng.choice(("segment the {}", "mask every {}", "outline each {}")).format(kind),
            [kind],
            rows[kind],
        )
        kind = rng.choice(here)
        add("detection", f"find all the {plural(kind)}", [kind], rows[kind])
        add("detection", f"how many {plural(kind)} are there", [kind], rows[kind], count=len(rows[kind]))
        painted = [(k, known[i].paint) for k in here if k in PAINTED for i in rows[k]]
        if painted:
            kind, paint = rng.choice(sorted(set(painted)))
            same = [i for i in rows[kind] if known[i].paint == paint]
            add("detection", f"find the {paint} {kind}", [kind], same, paint=paint)
        if len(here) > 1:
            one, two = rng.sample(here, 2)
            both = rows[one] + rows[two]
            add("segmentation", f"colour the {one} red and the {two} blue", [one, two], both,
                colours={one: "red", two: "blue"})  # fmt: skip
        largest = max(known, key=lambda o: (o.area, -o.instance)).kind
        choices = sorted({largest, *rng.sample(absent, min(3, len(absent)))})
        add("classification", f"which of these fills most of the picture: {', '.join(choices)}", choices, [],
            present=True, choices=choices, answer=largest)  # fmt: skip
    if absent:
        kind = rng.choice(absent)
        add("segmentation", f"segment the {kind}", [kind], [])
        kind = rng.choice(absent if rng.random() < 0.5 or not here else here)
        add("classification", f"is there {_one(kind)} in the picture", [kind], rows.get(kind, []))
    add(
        "depth",
        rng.choice(("how far is everything", "show the depth", "estimate the distance of every point")),
        [],
        [],
        present=True,
    )
    add("ood", rng.choice(("brighten whatever does not belong", "is anything unusual here")), [], [], present=ood)
    if relations:
        drawn = [r for r in relations if r[1] in VISUAL_PREDICATES]
        first, predicate, second = rng.choice(drawn or list(relations))
        names = [known[first].kind, predicate, known[second].kind]
        answer = sorted({i for a, q, b in relations if [known[a].kind, q, known[b].kind] == names for i in (a, b)})
        add(
            "scene_graph",
            f"show how the {names[0]} relates to the {names[2]}",
            [names[0], names[2]],
            answer,
            relation=names,
        )
    return out
