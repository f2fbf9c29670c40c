"""Relations: geometry recomputed from masks and depth, drawn relations, held-out compositions, and the words."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from visgen.data.town import (
    KINDS,
    PREDICATES,
    SEMANTIC_CLASSES,
    VISUAL_PREDICATES,
    Scene,
    TownConfig,
    compositions,
    holdout_compositions,
    render,
    toy_vg,
)
from visgen.data.town.config import GEOMETRIC_PREDICATES
from visgen.data.town.relations import INVERSES, LINKS, composition_weight
from visgen.data.town.text import plural

EXACT = {"size": (120, 160), "links": (1, 3), "max_depth": 65.535}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Forty scenes with drawn relations."""
    return [render(seed, TownConfig(preset=p, **EXACT)) for p in ("street", "room") for seed in range(20)]


def spatial(scene: Scene, i: int, j: int, linked: bool) -> str | None:
    """The geometric predicate from row i to row j, from the masks and the depth map alone, but for "on"."""
    a, b = scene.labelled[i], scene.labelled[j]
    if a.parent == b.instance:
        return "on"
    if b.parent == a.instance:
        return "under"
    both = []
    for o in (a, b):
        rows, columns = np.nonzero(scene.instance == o.instance)
        both.append((columns.min(), columns.max(), rows.min(), rows.max(), np.median(scene.depth[rows, columns])))
    (al, ar, at, ab, ad), (bl, br, bt, bb, bd) = both
    wide, tall = min(ar, br) - max(al, bl) + 1, min(ab, bb) - max(at, bt) + 1
    if wide > 0 and tall > 0:
        smaller = min((ar - al + 1) * (ab - at + 1), (br - bl + 1) * (bb - bt + 1))
        if linked or a.kind == b.kind == "building" or wide * tall < 0.3 * smaller:
            return None
        return "in front of" if ad < 0.88 * bd else "behind" if bd < 0.88 * ad else None
    if wide > 0 or "building" in (a.kind, b.kind):
        return None
    near = -wide <= (ar - al + br - bl + 2) / 2 and min(ad, bd) >= 0.7 * max(ad, bd)
    level = tall >= 0.5 * min(ab - at + 1, bb - bt + 1)
    return None if not (near and level) else "left of" if ar < bl else "right of"


def test_geometric_relations_follow_from_masks_and_depth(scenes: list[Scene]) -> None:
    found: Counter[str] = Counter()
    for scene in scenes:
        known = scene.labelled
        listed = {(s, o): p for s, p, o in scene.true_relations if p in GEOMETRIC_PREDICATES}
        drawn = {frozenset((s, o)) for s, p, o in scene.true_relations if p in VISUAL_PREDICATES and p != "matching"}
        for i in range(len(known)):
            for j in range(len(known)):
                if i == j or max(known[i].depth, known[j].depth) > 65:
                    continue
                assert listed.get((i, j)) == spatial(scene, i, j, frozenset((i, j)) in drawn), (scene.seed, i, j)
                found[str(listed.get((i, j)))] += 1
    assert all(found[p] >= 10 for p in GEOMETRIC_PREDICATES), found


def test_what_stands_on_something_touches_its_top(scenes: list[Scene]) -> None:
    pairs = [(s.labelled[a], s.labelled[b]) for s in scenes for a, p, b in s.true_relations if p == "on"]
    assert len(pairs) > 10
    for above, below in pairs:
        assert below.top is not None and above.low[1] == pytest.approx(below.top.height, abs=0.02)
        assert below.low[0] <= above.middle[0] <= below.high[0] and below.low[2] <= above.middle[1] <= below.high[2]


def test_relations_come_with_their_inverses(scenes: list[Scene]) -> None:
    for scene in scenes:
        listed = set(scene.true_relations)
        for s, p, o in listed:
            assert s != o and p in PREDICATES and 0 <= s < len(scene.labelled) and 0 <= o < len(scene.labelled)
            if p in INVERSES:
                assert (o, INVERSES[p], s) in listed


def test_visual_relations_occur_between_the_kinds_of_their_table(scenes: list[Scene]) -> None:
    seen: Counter[str] = Counter()
    for scene in scenes:
        for relation in scene.true_relations:
            s, p, o = scene.triplet(relation)
            if p in VISUAL_PREDICATES:
                seen[p] += 1
                assert (s in LINKS[p][0] and o in LINKS[p][1]) or p == "matching"
    assert all(seen[p] >= 2 for p in VISUAL_PREDICATES), seen


def test_a_leash_or_cord_is_seen_and_belongs_to_neither_thing() -> None:
    for seed in range(60):
        scene = render(seed, TownConfig(preset="street", size=(96, 128), links=(1, 1), degrade=False))
        cords = [r for r in scene.true_relations if r[1] in ("leading", "plugged into")]
        if cords:
            break
    cord = scene.semantic == SEMANTIC_CLASSES.index("cord")
    assert 4 <= cord.sum() < 600 and (scene.instance[cord] == -1).all()
    colours = scene.images["day"][cord].astype(float).mean(axis=0)
    around = scene.images["day"].astype(float).mean(axis=(0, 1))
    assert np.abs(colours - around).max() > 15


def test_matching_things_share_pattern_and_paint(scenes: list[Scene]) -> None:
    pairs = [(s.labelled[a], s.labelled[b]) for s in scenes for a, p, b in s.true_relations if p == "matching"]
    assert pairs and all((a.paint, a.texture) == (b.paint, b.texture) for a, b in pairs)


def test_relation_share_writes_down_a_part() -> None:
    def listed(share: float) -> tuple[int, int]:
        drawn = [render(seed, TownConfig(preset="room", size=(64, 96), relation_share=share)) for seed in range(15)]
        assert all(set(s.relations) <= set(s.true_relations) for s in drawn)
        return sum(len(s.relations) for s in drawn), sum(len(s.true_relations) for s in drawn)

    assert listed(0.0)[0] == 0
    part, whole = listed(0.3)
    assert 0.2 < part / whole < 0.4


def test_holdouts_leave_every_half_of_a_composition_represented() -> None:
    held = holdout_compositions(0.15)
    assert held == holdout_compositions(0.15) != holdout_compositions(0.15, seed=1)
    kinds = [k for k in KINDS if k != "building"]
    visual = {(s, p, o) for p, (ss, oo) in LINKS.items() for s in ss for o in oo if s != o}
    taken = visual & set(held)
    assert 0.10 < len(taken) / len(visual) <= 0.17
    left = visual - taken
    for s, p, o in taken:
        assert any((a, q) == (s, p) for a, q, _ in left) and any((q, b) == (p, o) for _, q, b in left)
    for s, p, o in held:
        assert p not in INVERSES or (o, INVERSES[p], s) in held
    assert {p for _, p, _ in held} >= {"left of", "right of", "in front of", "behind", "holding", "matching"}
    assert all(s in kinds and o in kinds for s, _, o in held)


def test_held_out_of_each_predicate() -> None:
    kinds = [k for k in KINDS if k != "building"]
    held = holdout_compositions(0.25, each=True)
    for predicate, (subjects, targets) in LINKS.items():
        group = {(s, predicate, o) for s in subjects for o in targets if s != o and {s, o} <= set(kinds)}
        taken = group & set(held)
        assert 0.15 < len(taken) / len(group) <= 0.36, predicate
        left = group - taken
        assert {s for s, _, _ in taken} <= {s for s, _, _ in left} and {o for *_, o in taken} <= {o for *_, o in left}
    config = compositions("heldout", size=(96, 128))
    assert {p for _, p, _ in config.holdout_triplets} == set(LINKS)
    scenes = [render(seed, config) for seed in range(8)]
    hits = [bool({s.triplet(r) for r in s.true_relations} & set(config.holdout_triplets)) for s in scenes]
    assert sum(hits) >= 7, hits


def test_seen_scenes_never_show_a_held_out_composition_and_heldout_scenes_do() -> None:
    train = toy_vg("seen", size=(96, 128), relation_share=1.0)
    held = set(train.holdout_triplets)
    kinds: Counter[str] = Counter()
    for seed in range(25):
        scene = render(seed, train)
        assert not {scene.triplet(r) for r in scene.true_relations} & held
        kinds.update(o.kind for o in scene.labelled)
        numbers = set(np.unique(scene.instance)) - {-1}
        assert {o.instance for o in scene.objects} <= numbers
    assert len(kinds) > 12 and not kinds["building"]
    test = toy_vg("heldout", size=(96, 128), relation_share=1.0)
    hits = [bool({s.triplet(r) for r in s.true_relations} & held) for s in (render(seed, test) for seed in range(12))]
    assert sum(hits) >= 11, hits


def test_compositions_are_drawn_with_very_unequal_weights() -> None:
    weights = sorted(composition_weight(s, p, o) for p, (ss, oo) in LINKS.items() for s in ss for o in oo)
    assert weights[-1] == 1.0 and weights[0] == pytest.approx(1 / 12)


def test_words_agree_with_the_labels(scenes: list[Scene]) -> None:
    tasks: Counter[str] = Counter()
    for scene in scenes:
        known = scene.labelled
        for entry in json.loads(json.dumps(scene.instructions())):
            tasks[entry["task"]] += 1
            kinds = {known[r].kind for r in entry["rows"]}
            assert kinds <= set(entry["categories"])
            if entry["task"] in ("segmentation", "detection"):
                assert entry["present"] == bool(entry["rows"])
                if "paint" not in entry:
                    assert len(entry["rows"]) == sum(o.kind in entry["categories"] for o in known)
            if "count" in entry:
                assert entry["count"] == len(entry["rows"]) and plural(entry["categories"][0]) in entry["text"]
            if "answer" in entry:
                assert known[int(np.argmax([o.area for o in known]))].kind == entry["answer"] in entry["choices"]
            if "relation" in entry:
                assert tuple(entry["relation"]) in {scene.triplet(r) for r in scene.true_relations}
        assert scene.caption("night").startswith(f"A {scene.preset} by night")
    assert set(tasks) == {"segmentation", "detection", "classification", "depth", "ood", "scene_graph"}
