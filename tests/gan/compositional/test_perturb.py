"""Perturbations: the worked example of GRAPHN, what may change and what may not, and how often."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from visgen.errors import ConfigError, DataError, UnknownName
from visgen.gan.compositional import PERTURBATIONS, build_perturbation, count_table

CLASSES = ("person", "dog", "cat", "boy", "surfboard", "wave", "rock")
PREDICATES = ("on", "near")
# A person on a surfboard, a wave near the person; how often training shows either with the person replaced.
LABELS = torch.tensor([0, 4, 5])
TRIPLETS = torch.tensor([[0, 1, 0], [2, 0, 1]])
SEEN = {("person", 50, 30), ("dog", 10, 2), ("cat", 3, 0), ("boy", 40, 6), ("rock", 0, 9)}
COUNTS = count_table(
    {(c, "on", "surfboard"): on for c, on, _ in SEEN} | {("wave", "near", c): near for c, _, near in SEEN},
    CLASSES,
    PREDICATES,
)
VECTORS = torch.randn(len(CLASSES), 6, generator=torch.Generator().manual_seed(0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, counts: Tensor = COUNTS, **options: Any) -> Any:
    return build_perturbation({"name": name, **options}, counts, VECTORS)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(2, {"dog": 23 / 29, "boy": 6 / 29}), (5, {"boy": 1.0}), (10, {}), (0, {"dog": 23 / 29, "boy": 6 / 29})],
)
def test_candidates_of_the_worked_example(alpha: int, expected: dict[str, float]) -> None:
    chances = build("graphn", alpha=alpha, nearest=0).candidates(0, LABELS, TRIPLETS)
    found = {CLASSES[i]: float(p) for i, p in enumerate(chances) if p > 0}
    assert found == pytest.approx(expected)


def test_draws_follow_the_worked_example() -> None:
    method, generator, drawn = build("graphn", alpha=2, nearest=0), rng(), Counter[int]()
    for _ in range(6000):
        drawn[method.choose(0, LABELS, TRIPLETS, generator)[0]] += 1
    assert set(drawn) == {1, 3}
    assert drawn[1] / 6000 == pytest.approx(23 / 29, abs=0.016)  # three standard errors


def test_a_relation_listed_twice_is_one_relation() -> None:
    # With cat seen in one of two relations it is out, however often that one is listed.
    twice = torch.tensor([[0, 1, 0], [0, 1, 0], [2, 0, 1]])
    chances = build("graphn", alpha=2, nearest=0).candidates(0, LABELS, twice)
    assert torch.allclose(chances, build("graphn", alpha=2, nearest=0).candidates(0, LABELS, TRIPLETS))
    only = torch.tensor([[0, 1, 0], [0, 1, 0]])
    assert build("graphn", alpha=2, nearest=0).candidates(0, LABELS, only)[2] > 0


def test_without_a_candidate_neighbours_are_taken_or_nothing_changes() -> None:
    near = {int(c) for c in build("graphn", nearest=2).near[0]}
    strict = build("graphn", alpha=10, nearest=0)
    assert strict.choose(0, LABELS, TRIPLETS, rng()) == (0, False)
    loose = build("graphn", alpha=10, nearest=2)
    found = {loose.choose(0, LABELS, TRIPLETS, rng(i)) for i in range(40)}
    assert found == {(c, True) for c in near}


def test_the_neighbour_step_says_when_it_leaves_the_candidates() -> None:
    method = build("graphn", alpha=2, nearest=3)
    for seed in range(60):
        final, is_loose = method.choose(0, LABELS, TRIPLETS, rng(seed))
        assert is_loose == (final not in (1, 3))
        assert final != 0


@given(st.integers(1, 9), st.floats(0.05, 1.0), st.sampled_from(["rand", "neigh", "graphn"]), st.integers(0, 10**6))
def test_what_is_visited_and_what_stays(n: int, share: float, name: str, seed: int) -> None:
    generator = rng(seed)
    labels = torch.randint(len(CLASSES), (n,), generator=generator)
    triplets = torch.zeros(0, 3, dtype=torch.int64)
    if n > 1:
        ends = torch.stack([torch.randperm(n, generator=generator)[:2] for _ in range(n)])
        triplets = torch.cat([ends, torch.randint(2, (n, 1), generator=generator)], dim=1)
    before, relations = labels.clone(), triplets.clone()
    counts = torch.randint(4, COUNTS.shape, generator=generator)
    made = build(name, counts, share=share)(labels, triplets, generator)
    assert torch.equal(labels, before) and torch.equal(triplets, relations)
    assert len(made.visited) == len(set(made.visited)) == max(1, round(share * n))
    visited = torch.zeros(n, dtype=torch.bool)
    visited[list(made.visited)] = True
    assert torch.equal(made.labels[~visited], before[~visited])
    assert bool((made.labels[visited] != before[visited]).all())
    assert bool(((made.labels >= 0) & (made.labels < len(CLASSES))).all())


@given(st.integers(1, 4), st.integers(0, 10**6))
def test_graphn_alone_keeps_the_least_count(alpha: int, seed: int) -> None:
    generator = rng(seed)
    labels = torch.randint(len(CLASSES), (4,), generator=generator)
    ends = torch.stack([torch.randperm(4, generator=generator)[:2] for _ in range(4)])
    triplets = torch.cat([ends, torch.randint(2, (4, 1), generator=generator)], dim=1)
    counts = torch.randint(6, COUNTS.shape, generator=generator)
    made = build("graphn", counts, alpha=alpha, nearest=0, share=0.25)(labels, triplets, generator)
    (node,) = made.visited
    if int(made.labels[node]) == int(labels[node]):
        return
    for s, o, p in triplets.tolist():
        count = int(counts[made.labels[s], p, made.labels[o]])
        if node in (s, o) and count > 0:
            assert count >= alpha


def test_rand_is_uniform() -> None:
    method, generator = build("rand", share=0.01), rng(3)
    drawn = Counter(
        int(method(torch.tensor([2]), torch.zeros(0, 3, dtype=torch.int64), generator).labels) for _ in range(6000)
    )
    assert set(drawn) == {0, 1, 3, 4, 5, 6}
    statistic = sum((count - 1000) ** 2 / 1000 for count in drawn.values())
    assert statistic < 20.5  # chi-square of 5 degrees of freedom at 0.1 %


def test_neigh_draws_all_of_the_nearest_and_no_other() -> None:
    method = build("neigh", nearest=3)
    unit = torch.nn.functional.normalize(VECTORS, dim=1)
    expected = sorted((c for c in range(7) if c != 0), key=lambda c: -float(unit[0] @ unit[c]))[:3]
    assert {method.choose(0, LABELS, TRIPLETS, rng(i))[0] for i in range(60)} == set(expected)


def test_busy_boxes_are_visited_more_often() -> None:
    labels, triplets = torch.tensor([0, 1, 2, 3]), torch.tensor([[0, 1, 0], [0, 2, 0]])
    first = Counter(build("rand", share=0.25)(labels, triplets, rng(i)).visited[0] for i in range(800))
    assert first[0] / 800 == pytest.approx(2 / 4.01, abs=0.06)
    assert first[3] < 20


def test_later_boxes_see_earlier_changes() -> None:
    # Both boxes are visited. Whoever comes second must choose by the new class of the first: (3, on, 3) is the only
    # composition that a changed partner allows.
    counts = torch.zeros(4, 1, 4, dtype=torch.int64)
    counts[1, 0, 0], counts[0, 0, 1] = 5, 5  # with the other box still of class 0, either may become 1
    counts[2, 0, 1], counts[1, 0, 2] = 5, 5  # with the other box now of class 1, the second becomes 2
    method = build_perturbation({"name": "graphn", "share": 1.0, "nearest": 0}, counts)
    for seed in range(10):
        made = method(torch.tensor([0, 0]), torch.tensor([[0, 1, 0]]), rng(seed))
        assert sorted(made.labels.tolist()) == [1, 2]


def test_an_empty_graph_stays_empty() -> None:
    made = build("graphn")(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.int64), rng())
    assert made.labels.tolist() == [] and made.visited == ()


def test_wrong_options_are_named() -> None:
    assert set(PERTURBATIONS) == {"rand", "neigh", "graphn"}
    with pytest.raises(ConfigError, match="needs a name, one of graphn, neigh, rand"):
        build_perturbation({"alpha": 2}, COUNTS)
    with pytest.raises(UnknownName, match="'graph' is not registered"):
        build_perturbation({"name": "graph"}, COUNTS)
    with pytest.raises(ConfigError, match="perturbation 'rand' has no option 'alpha'.*Options: share"):
        build_perturbation({"name": "rand", "alpha": 2}, COUNTS)
    with pytest.raises(ConfigError, match="share is 0"):
        build("rand", share=0)
    with pytest.raises(ConfigError, match="alpha is -1"):
        build("graphn", alpha=-1)
    with pytest.raises(ConfigError, match="nearest is 0"):
        build("neigh", nearest=0)
    with pytest.raises(ConfigError, match="5 neighbours need class vectors"):
        build_perturbation({"name": "neigh"}, COUNTS)
    with pytest.raises(DataError, match="'bird', 'on', 'cat'"):
        count_table({("bird", "on", "cat"): 1}, CLASSES, PREDICATES)
