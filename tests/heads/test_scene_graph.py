"""The scene-graph head: laws of order and of batches, empty graphs, the frequency bias, and what blindness means."""

from dataclasses import replace

import pytest
import torch

from visgen.errors import ConfigError
from visgen.heads import GraphQueries, SceneGraphHead
from visgen.heads.figure import FIGURE
from visgen.heads.pyramid_decoder import resize_like
from visgen.heads.scene_graph import LEAST, MASK, _touch, all_pairs, exchange_messages, flat_queries
from visgen.nn.pair_contact import contact, paste_masks
from visgen.structures.features import Features

CHANNELS = {4: 8, 8: 8, 16: 16, 32: 16}
SIZE = (64, 96)


def features(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pyramid = {s: torch.randn(batch, c, SIZE[0] // s, SIZE[1] // s, generator=generator) for s, c in CHANNELS.items()}
    return Features(pyramid, torch.randn(batch, 12, generator=generator))


def boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([60.0, 40.0])
    return torch.cat([corner, corner + 4 + 24 * torch.rand(count, 2, generator=generator)], 1)


def build(**options):
    torch.manual_seed(0)
    options = {"width": 16, "state": 24, "label_width": 8, **options}
    return SceneGraphHead(CHANNELS, 12, outputs=3, objects=5, **options).eval()


def by_pair(logits, image):
    """{(subject, object): predicate logits} of one image."""
    return {tuple(p): e for p, e in zip(logits.pairs[image].tolist(), logits.edges[image], strict=True)}


QUERIES = GraphQueries([boxes(4), boxes(3, seed=1)], [torch.tensor([0, 4, 2, 2]), None])
KINDS = {
    "full": {},
    "blind": {"pixels": False},
    "appearance": {"appearance": True},
    "no figures": {"figures": False},
    "no labels": {"appearance": True, "label_width": 0, "rounds": 0},
}


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind):
    found = build(**KINDS[kind])(features(), QUERIES)
    assert [tuple(n.shape) for n in found.nodes] == [(4, 5), (3, 5)]
    assert [tuple(e.shape) for e in found.edges] == [(12, 4), (6, 4)]
    assert found.queries is QUERIES
    assert torch.equal(found.pairs[1], torch.tensor([[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]))
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in (*found.nodes, *found.edges))


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_in_another_order_give_the_same_graph(kind):
    head = build(**KINDS[kind])
    order = torch.tensor([2, 0, 3, 1])
    moved = GraphQueries(
        [QUERIES.xyxy[0][order], QUERIES.xyxy[1]], [QUERIES.labels[0][order], None], [all_pairs(4), all_pairs(3)]
    )
    first, second = head(features(), QUERIES), head(features(), moved)
    torch.testing.assert_close(second.nodes[0], first.nodes[0][order], rtol=1e-4, atol=1e-5)
    wanted = by_pair(first, 0)
    for (s, o), edge in by_pair(second, 0).items():
        torch.testing.assert_close(edge, wanted[int(order[s]), int(order[o])], rtol=1e-4, atol=1e-5)


def test_pairs_in_another_order_give_the_same_edges():
    head, order = build(), torch.tensor([5, 0, 3, 1, 4, 2])
    pairs = [all_pairs(4), all_pairs(3)[order]]
    found = head(features(), replace(QUERIES, pairs=pairs))
    torch.testing.assert_close(found.edges[1], head(features(), QUERIES).edges[1][order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_images_do_not_interact(kind):
    head, given = build(**KINDS[kind]), features()
    both = head(given, QUERIES)
    for i in range(2):
        one = Features({s: m[i : i + 1] for s, m in given.pyramid.items()}, given.token[i : i + 1])
        alone = head(one, GraphQueries([QUERIES.xyxy[i]], [QUERIES.labels[i]]))
        torch.testing.assert_close(alone.nodes[0], both.nodes[i], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(alone.edges[0], both.edges[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (1, 3), (2, 0)])
def test_images_with_no_or_one_box(kind, counts):
    head = build(**KINDS[kind]).train()
    queries = GraphQueries([boxes(n) for n in counts], [torch.zeros(n, dtype=torch.int64) for n in counts])
    found = head(features(), queries)
    assert [tuple(n.shape) for n in found.nodes] == [(n, 5) for n in counts]
    assert [tuple(e.shape) for e in found.edges] == [(n * (n - 1), 4) for n in counts]
    sum(x.sum() for x in (*found.nodes, *found.edges)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


def test_padding_right_and_below_does_not_change_the_geometry():
    head = build(pixels=False)
    wide = Features({4: torch.zeros(2, 8, 40, 40)}, torch.zeros(2, 12))
    padded = head(wide, replace(QUERIES, sizes=[SIZE, SIZE]))
    for a, b in zip(padded.edges, head(features(), QUERIES).edges, strict=True):
        assert torch.equal(a, b)


def test_figures_are_in_step_with_boxes_and_relations_do_not_bend_them():
    head = build()
    found = head(features(), QUERIES)
    assert [tuple(f.shape) for f in found.figures] == [(4, FIGURE, FIGURE), (3, FIGURE, FIGURE)]
    found.edges[0].sum().backward()
    assert all(p.grad is None for p in head.figure.parameters())
    assert build(figures=False)(features(), QUERIES).figures is None


def test_edges_follow_the_figures():
    head = build()
    first = head(features(), QUERIES).edges[0]
    with torch.no_grad():
        head.figure.project.bias += 3.0
    assert not torch.allclose(first, head(features(), QUERIES).edges[0])


def test_touch_is_that_of_each_pair_in_its_own_order():
    torch.manual_seed(0)
    corners = torch.rand(4, 2) * 30
    boxes, figures = torch.cat([corners, corners + 5 + torch.rand(4, 2) * 30], dim=1), torch.randn(4, 14, 14)
    ends = torch.tensor([[2, 0], [0, 2], [1, 3], [3, 0], [2, 1]])
    shapes = figures.sigmoid()
    for (s, o), found in zip(ends.tolist(), _touch(figures, boxes, ends), strict=True):
        a, b = boxes[[s]], boxes[[o]]
        union = torch.cat([torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])], dim=1)
        drawn = [paste_masks(shapes[[i]], boxes[[i]], union, MASK) for i in (s, o)]
        torch.testing.assert_close(found, contact(*drawn)[0], rtol=0, atol=1e-6)


def test_a_graph_without_pairs_still_names_its_boxes():
    none = [torch.zeros(0, 2, dtype=torch.int64)] * 2
    found = build()(features(), replace(QUERIES, pairs=none))
    assert [len(n) for n in found.nodes] == [4, 3] and [len(e) for e in found.edges] == [0, 0]


def test_the_frequency_bias_adds_the_logarithm_of_the_share():
    table = torch.zeros(5, 5, 4, dtype=torch.int32)
    table[0, 4] = torch.tensor([2, 1, 1, 0])
    plain, biased = build(rounds=1), build(rounds=1, frequency_bias=True)
    biased.learn_counts(table)
    added = by_pair(biased(features(), QUERIES), 0)
    for pair, edge in by_pair(plain(features(), QUERIES), 0).items():
        share = torch.tensor([0.5, 0.25, 0.25, 0.0]) if pair == (0, 1) else torch.zeros(4)
        torch.testing.assert_close(added[pair] - edge, (share + LEAST).log(), rtol=0, atol=1e-5)


def test_a_blind_head_ignores_pixels_and_a_full_one_does_not():
    given = QUERIES
    blind, full = build(pixels=False), build()
    for a, b in zip(blind(features(seed=0), given).edges, blind(features(seed=9), given).edges, strict=True):
        assert torch.equal(a, b)
    assert not torch.allclose(full(features(seed=0), given).edges[0], full(features(seed=9), given).edges[0])


def test_a_head_takes_the_sight_of_another_and_keeps_it_fixed():
    trained = build()
    for value in trained.parameters():
        value.data.add_(0.1)
    head, blind = build(), build(pixels=False)
    for one in (head, blind):
        one.take_sight(trained)
    wanted, found = trained(features(), QUERIES), head(features(), QUERIES)
    assert torch.equal(found.figures[0], wanted.figures[0])
    assert not torch.equal(found.edges[0], wanted.edges[0])
    assert torch.equal(blind.embed.weight, trained.embed.weight) and not blind.embed.weight.requires_grad
    found.edges[0].sum().backward()
    assert head.figure.project.weight.grad is None and head.predicate.weight.grad is not None
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.take_sight(None)
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())


def test_given_labels_change_edges_but_not_what_pixels_say_of_the_class():
    head, other = build(), replace(QUERIES, labels=[torch.tensor([1, 1, 1, 1]), None])
    first, second = head(features(), QUERIES), head(features(), other)
    assert torch.equal(first.nodes[0], second.nodes[0])
    assert not torch.allclose(first.edges[0], second.edges[0])


def test_counts_are_saved_with_the_head():
    head, table = build(), torch.randint(0, 9, (5, 5, 4), dtype=torch.int32)
    head.learn_counts(table)
    again = build()
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.counts, table)


def test_all_pairs():
    assert all_pairs(0).shape == all_pairs(1).shape == (0, 2)
    assert all_pairs(3).tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 24}, "scene-graph head has width 24, rounds 3.*use a multiple of 16, and 0 or more"),
        ({"rounds": -1}, "rounds -1"),
        ({"label_width": 0}, "without appearance needs label_width above 0"),
        ({"pixels": False, "appearance": True, "label_width": 0}, "it would know no class"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_queries_are_required():
    with pytest.raises(ConfigError, match="got NoneType as queries; give GraphQueries"):
        build()(features())


def test_messages_are_those_of_the_gates_applied_to_joined_states():
    head = build(rounds=1)
    _, ends, _, _ = flat_queries(QUERIES, torch.device("cpu"))
    node, edge = torch.randn(7, 24), torch.randn(len(ends), 24)
    s, o = node[ends[:, 0]], node[ends[:, 1]]
    w = [gate(torch.cat([end, edge], 1)).sigmoid() for gate, end in zip(head.gates, (s, o, s, o), strict=True)]
    inbox = torch.zeros_like(node).index_add(0, ends[:, 0], w[2] * edge).index_add(0, ends[:, 1], w[3] * edge)
    wanted = head.node_unit(inbox, node), head.edge_unit(w[0] * s + w[1] * o, edge)
    found = exchange_messages(node, edge, ends, head.gates, head.node_unit, head.edge_unit)
    for one, plain in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [16, 15])
def test_the_fine_map_is_pooled_before_its_convolution(rows):
    head, seen = build(), features()
    seen.pyramid = {s: m[:, :, : -(-4 * rows // s)] for s, m in seen.pyramid.items()}
    x = head.lateral16(seen.pyramid[16]) + head.context(seen.token)[:, :, None, None]
    x = resize_like(x, seen.pyramid[8]) + head.lateral8(seen.pyramid[8])
    fine = torch.nn.functional.avg_pool2d(head.lateral4(seen.pyramid[4]), 2, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(head._fused(seen), head.fuse(x + fine), rtol=1e-4, atol=1e-5)
