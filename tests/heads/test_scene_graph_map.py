"""The head on one map: it does not care about the order of boxes, keeps pictures apart, and never reads a class."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import ConfigError
from visgen.heads import GraphQueries, MapGraphHead
from visgen.structures.features import Features

XYXY = torch.tensor([[4.0, 6, 60, 70], [50, 12, 120, 90], [70, 60, 100, 120], [10, 80, 40, 120]])


def head() -> MapGraphHead:
    torch.manual_seed(0)
    return MapGraphHead({16: 6}, 6, 4, objects=3, state=16).eval()


def maps(count: int = 1) -> Tensor:
    return torch.randn(count, 6, 8, 9, generator=torch.Generator().manual_seed(1))


def features(found: Tensor) -> Features:
    return Features({16: found}, found.mean((2, 3)))


def test_boxes_in_another_order_give_the_same_answers() -> None:
    order = torch.tensor([2, 0, 3, 1])
    first = head()(features(maps()), GraphQueries([XYXY], [None]))
    second = head()(features(maps()), GraphQueries([XYXY[order]], [None]))
    assert torch.allclose(first.nodes[0][order], second.nodes[0], atol=1e-5)
    known = {tuple(p): e for p, e in zip(first.pairs[0].tolist(), first.edges[0], strict=True)}
    for (s, o), edge in zip(second.pairs[0].tolist(), second.edges[0], strict=True):
        assert torch.allclose(known[int(order[s]), int(order[o])], edge, atol=1e-5)


def test_pictures_do_not_interact_and_classes_are_not_read() -> None:
    found = maps(2)
    both = head()(features(found), GraphQueries([XYXY, XYXY[:2]], [None, torch.tensor([0, 1])]))
    alone = head()(features(found[1:]), GraphQueries([XYXY[:2]], [None]))
    assert torch.allclose(both.edges[1], alone.edges[0], atol=1e-5)
    assert torch.allclose(both.nodes[1], alone.nodes[0], atol=1e-5)


def test_the_two_orders_of_a_pair_differ_and_a_lone_box_has_none() -> None:
    found = head()(features(maps()), GraphQueries([XYXY[:2]], [None]))
    assert found.pairs[0].tolist() == [[0, 1], [1, 0]]
    assert not torch.allclose(found.edges[0][0], found.edges[0][1], atol=1e-4)
    lone = head()(features(maps()), GraphQueries([XYXY[:1]], [None]))
    assert lone.nodes[0].shape == (1, 3) and lone.edges[0].shape == (0, 5)


def test_regions_are_cut_where_the_boxes_lie() -> None:
    found = torch.zeros(1, 6, 8, 9)
    found[:, :, 2:5, 3:6] = torch.arange(6.0)[None, :, None, None] + 1
    ends = torch.tensor([[0, 1], [1, 0]])
    boxes = torch.tensor([[56.0, 40, 88, 72], [112.0, 100, 144, 128]])  # inside the square, and far from it
    nodes, edges = head().pool(found, boxes, ends, torch.zeros(2, dtype=torch.int64))
    assert torch.allclose(nodes[0], torch.arange(6.0)[:, None, None] + 1) and not nodes[1].any()
    assert torch.equal(edges[0], edges[1])  # one union
    assert bool(edges[0, 0, 0, 0] > 0) and not edges[0, :, -1, -1].any()


def test_wrong_options_and_questions_are_named() -> None:
    with pytest.raises(ConfigError, match="state 12, rounds 3 and cells 7"):
        MapGraphHead({16: 6}, 6, 4, objects=3, state=12)
    with pytest.raises(ConfigError, match="got NoneType as queries"):
        head()(features(maps()))
