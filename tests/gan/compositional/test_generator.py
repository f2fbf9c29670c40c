"""The feature generator and its judges: draws differ, a seed repeats, and a change stays where it was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from visgen.errors import ConfigError
from visgen.gan.compositional import FeatureGenerator, GraphBatch, Judges, box_cover

GRID = (12, 16)
SMALL: dict[str, Any] = {"embed": 8, "width": 16, "layers": 2, "tile": 4, "layout": 8, "refine": (8, 8, 8)}


def graph(count: int = 2) -> GraphBatch:
    """Pictures with two boxes far apart and one relation between them; the last picture fills a part of the grid."""
    boxes = torch.tensor([[0.0, 0, 5, 6], [10, 6, 16, 12]]).repeat(count, 1)
    labels = torch.tensor([0, 1]).repeat(count)
    image = torch.arange(count).repeat_interleave(2)
    ends = torch.tensor([[0, 1], [1, 0]]).repeat(count, 1) + 2 * torch.arange(count).repeat_interleave(2)[:, None]
    predicates = torch.tensor([2, 0]).repeat(count)
    cells = torch.tensor([list(GRID)] * (count - 1) + [[12, 10]])
    return GraphBatch(boxes, labels, image, ends, predicates, cells, GRID, tuple(str(i) for i in range(count)))


def build(**changes: Any) -> FeatureGenerator:
    torch.manual_seed(0)
    return FeatureGenerator(6, 3, 2, **{**SMALL, **changes})


def inputs(n: int, seed: int = 0, noise: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, 7, 7, generator=generator), torch.randn(n, noise, generator=generator)


def test_draws_differ_by_noise_and_by_region_and_repeat_with_their_seed() -> None:
    network, made = build(), graph()
    real, noise = inputs(4)
    other_real, other_noise = inputs(4, 1)
    maps = network(made, real, noise)
    assert maps.shape == (2, 6, *GRID) and bool(maps.isfinite().all())
    assert torch.equal(maps, network(made, real, noise))
    assert not torch.allclose(maps, network(made, real, other_noise))
    assert not torch.allclose(maps, network(made, other_real, noise))


def test_beyond_a_picture_there_is_nothing_and_pictures_do_not_interact() -> None:
    network, made = build(), graph()
    real, noise = inputs(4)
    maps = network(made, real, noise)
    assert not maps[1, :, :, 10:].any() and bool(maps[1, :, :, :10].any())
    alone = network(graph(3), *(torch.cat([x, x[:2]]) for x in (real, noise)))
    assert torch.allclose(maps[0], alone[0], atol=1e-5)


def test_another_class_changes_the_map_mostly_in_its_box() -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        network, made = FeatureGenerator(6, 3, 2, noise=0), graph(3)
        real, _ = inputs(6, seed)
        other = real.clone()
        other[0] = inputs(6, seed + 9)[0][0]  # a region of the new class
        labels = made.labels.clone()
        labels[0] = 2
        with torch.no_grad():
            change = (network(made.with_labels(labels), other) - network(made, real)).square().sum(1)
        inside = float(change[0][box_cover(made)[0] > 0].sum())
        assert inside / float(change[0].sum()) >= 0.7
        assert not change[1:].any()


def test_every_parameter_learns_and_the_relations_matter() -> None:
    network, made = build(), graph()
    maps = network(made, *inputs(4))
    maps.square().sum().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None]
    swapped = replace(made, predicates=torch.tensor([1, 0] * 2))
    assert not torch.allclose(maps, network(swapped, *inputs(4)))


def test_without_relations_boxes_or_a_bank_it_still_works() -> None:
    made = graph()
    lonely = replace(made, predicates=torch.zeros_like(made.predicates))
    assert bool(build()(lonely, *inputs(4)).isfinite().all())
    none = torch.zeros(0, dtype=torch.int64)
    empty = GraphBatch(torch.zeros(0, 4), none, none, none.reshape(0, 2), none, made.cells, GRID, made.ids)
    assert build(real=False)(empty, noise=torch.zeros(0, 16)).shape == (2, 6, *GRID)


def test_missing_parts_are_named() -> None:
    with pytest.raises(ConfigError, match="got real regions None"):
        build()(graph(), noise=torch.zeros(4, 16))
    with pytest.raises(ConfigError, match=r"got noise \(4, 3\)"):
        build()(graph(), inputs(4)[0], torch.zeros(4, 3))
    with pytest.raises(ConfigError, match="0 layers"):
        build(layers=0)


def test_judges_read_what_a_region_shall_show() -> None:
    torch.manual_seed(0)
    judges = Judges(6, 3, 2, width=8, embed=4).eval()
    generator = torch.Generator().manual_seed(0)
    maps, nodes, edges = (torch.randn(n, 6, *s, generator=generator) for n, s in ((2, GRID), (4, (7, 7)), (5, (7, 7))))
    labels, predicates = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 0, 1, 2, 0])
    found = judges(maps, nodes, labels, edges, predicates)
    assert {k: tuple(v.shape) for k, v in found.items()} == {"node": (4,), "edge": (5,), "map": (2,)}
    other = judges(maps, nodes, labels.flip(0), edges, predicates)
    assert torch.equal(other["edge"], found["edge"]) and not torch.allclose(other["node"], found["node"])
    with pytest.raises(ConfigError, match="regions are"):
        judges.node(torch.zeros(1, 6, 5, 7), torch.tensor([0]))


def test_weights_of_the_judges_have_a_spectral_norm_of_one() -> None:
    torch.manual_seed(0)
    judges = Judges(6, 3, 2, width=8)
    weight = judges.node.body[2].weight  # type: ignore[union-attr]
    for _ in range(30):
        weight = judges.node.body[2].weight  # type: ignore[union-attr]
    assert float(torch.linalg.matrix_norm(weight.flatten(1), 2)) == pytest.approx(1, abs=0.02)


def test_a_limit_keeps_the_annotated_pairs() -> None:
    predicates = torch.tensor([0, 3, 0, 0, 1, 0, 0, 2])
    judges = Judges(6, 3, 2, width=8, pairs=5)
    for seed in range(5):
        chosen = judges.chosen(predicates, torch.Generator().manual_seed(seed)).tolist()
        assert len(set(chosen)) == 5 and set(chosen) >= {1, 4, 7}
    assert Judges(6, 3, 2, width=8).chosen(predicates, torch.Generator()).tolist() == list(range(8))
