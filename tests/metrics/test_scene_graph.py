"""Scene-graph recall: the worked example of the specification, a naive loop, and the laws of recall."""

from __future__ import annotations

from statistics import fmean, median

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.metrics import ClassificationMetric, Metric, SceneGraphMetric
from visgen.metrics.bootstrap import mean_of_groups
from visgen.structures import Boxes, SceneGraph

CLASSES = ("1", "2", "3", "4", "5")
PREDICATES = ("p1", "p2", "p3")
SIZE = (30, 30)
CORNERS = [[0.0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30], [20, 20, 30, 30]]
PAIRS = [[0, 1], [0, 2], [2, 3], [1, 0]]
SOFTMAX = [[0.50, 0.40, 0.05], [0.48, 0.36, 0.06], [0.07, 0.08, 0.80], [0.22, 0.60, 0.08]]
COUNTS = {("1", "p1", "2"): 9, ("3", "p3", "4"): 4}
KS = (1, 2, 3, 4, 5, 6, 8)


def boxes(labels=(0, 1, 2, 3), scores=None, corners=CORNERS):
    return Boxes(
        torch.tensor(corners).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        SIZE,
        CLASSES,
        None if scores is None else torch.tensor(scores),
    )


def true(rows=((0, 1, 0), (0, 2, 1), (2, 3, 2)), nodes=None):
    return SceneGraph(nodes or boxes(), torch.tensor(rows, dtype=torch.int64).reshape(-1, 3), PREDICATES)


def predicted(protocol="predcls"):
    nodes = boxes() if protocol == "predcls" else boxes((0, 1, 2, 4), (0.9, 0.8, 0.7, 0.6))
    return SceneGraph.from_pairs(nodes, torch.tensor(PAIRS), torch.tensor(SOFTMAX), PREDICATES)


def measured(predictions, targets, **options):
    metric = SceneGraphMetric(CLASSES, PREDICATES, **{"top": KS, **options})
    metric.update(predictions, targets)
    return metric


@pytest.mark.parametrize(
    ("protocol", "constraint", "thirds"),
    [
        ("predcls", True, (1, 1, 2, 2, 2, 2, 2)),
        ("predcls", False, (1, 1, 2, 2, 2, 3, 3)),
        ("sgcls", True, (0, 1, 1, 1, 1, 1, 1)),
        ("sgcls", False, (0, 1, 1, 1, 1, 2, 2)),
    ],
)
@pytest.mark.parametrize("aggregate", ["images", "relations"])
def test_the_worked_example(protocol, constraint, thirds, aggregate):
    metric = measured([predicted(protocol)], [true()], protocol=protocol, graph_constraint=constraint)
    figures = metric.compute(aggregate)
    assert [figures[f"R@{k}"] for k in KS] == [pytest.approx(n / 3) for n in thirds]
    loose = measured([predicted(protocol)], [true()], protocol="sggen", graph_constraint=constraint)
    assert {k: v for k, v in loose.compute().items() if "_tr" not in k} == {
        k: v for k, v in figures.items() if "_tr" not in k
    }


def test_the_worked_example_ranks():
    order = [(0.80, [2, 3, 2]), (0.60, [1, 0, 1]), (0.50, [0, 1, 0]), (0.48, [0, 2, 0]), (0.40, [0, 1, 1])]
    ranked = predicted()
    assert ranked.triplets[:5].tolist() == [row for _, row in order]
    assert ranked.scores[:5].tolist() == pytest.approx([score for score, _ in order])
    sgcls = predicted("sgcls").scores[:6].tolist()
    assert sgcls == pytest.approx([0.432, 0.36, 0.336, 0.3024, 0.288, 0.2268])


def test_the_worked_example_of_rare_triplets_and_mean_recall():
    free = measured([predicted()], [true()], graph_constraint=False, counts=COUNTS).compute()
    held = measured([predicted()], [true()], counts=COUNTS).compute()
    # only (1, p2, 3) is unseen; counts 9 and 4 are both 10-shot
    assert [free[f"zsR@{k}"] for k in KS] == [0, 0, 0, 0, 0, 1, 1]
    assert [held[f"zsR@{k}"] for k in KS] == [0] * 7
    assert held["10shotR@3"] == 1 and held["10shotR@1"] == 0.5 and "100shotR@3" not in held
    assert held["mR@3"] == pytest.approx(2 / 3) and held["mR@3/all_predicates"] == pytest.approx(2 / 3)
    wide = SceneGraphMetric(CLASSES, (*PREDICATES, *(f"q{i}" for i in range(47))), top=(3,))
    widened = [SceneGraph(g.boxes, g.triplets, wide.predicates, g.scores) for g in (predicted(), true())]
    wide.update(widened[:1], widened[1:])
    assert wide.compute()["mR@3"] == pytest.approx(2 / 3)
    assert wide.compute()["mR@3/all_predicates"] == pytest.approx(0.04)
    twice = measured([predicted()], [true(((0, 1, 0), (0, 1, 0), (0, 2, 1)))]).compute()
    assert twice["R@3"] == pytest.approx(2 / 3)


def test_the_worked_example_of_weighted_triplet_recall():
    free = measured([predicted()], [true()], graph_constraint=False, counts=COUNTS).compute()
    # weights 1/10, 1, 1/5 of 1.3; ranks among the predictions of the own pair 1, 1, 0
    assert free["R_tr@1"] == pytest.approx(1 / 3) and free["wR_tr@1"] == pytest.approx(0.2 / 1.3)
    assert free["R_tr@5"] == free["wR_tr@5"] == 1
    assert free["rank_tr_mean"] == pytest.approx(2 / 3) and free["rank_tr_median"] == 1
    held = measured([predicted()], [true()], counts=COUNTS).compute()  # A-C p2 is not among them: rank 301
    assert held["rank_tr_mean"] == pytest.approx(302 / 3) and held["wR_tr@50"] == pytest.approx(0.3 / 1.3)


def test_half_an_overlap_matches_and_less_does_not():
    truth = true(((0, 1, 0),), boxes((0, 1), corners=[[0.0, 0, 10, 10], [20, 0, 30, 10]]))
    for corner, hit in (([0.0, 0, 10, 20], 1.0), ([3.4, 0, 13.4, 10], 0.0)):
        nodes = boxes((0, 1), corners=[corner, [20.0, 0, 30, 10]])
        guess = SceneGraph(nodes, torch.tensor([[0, 1, 0]]), PREDICATES, torch.tensor([0.5]))
        assert measured([guess], [truth], protocol="sggen").compute()["R@1"] == hit


def test_one_prediction_may_match_several_true_triplets():
    near = boxes((0, 0, 1), corners=[[0.0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 30, 30]])
    guess = SceneGraph(near, torch.tensor([[0, 2, 0]]), PREDICATES, torch.tensor([0.5]))
    figures = measured([guess], [true(((0, 2, 0), (1, 2, 0)), near)]).compute()
    assert figures["R@1"] == 1 and figures["R_tr@1"] == 0.5  # but the second pair's own boxes got no prediction


@st.composite
def cases(draw, most=4):
    """Target and prediction over jittered boxes, with distinct scores so that the order does not rest on ties."""
    seed = draw(st.integers(0, 10**6))
    count = draw(st.integers(2, most))
    generator = torch.Generator().manual_seed(seed)
    drawn = lambda high, *shape: torch.randint(0, high, shape, generator=generator)  # noqa: E731
    corner = drawn(4, count, 2) * 3.0
    true_boxes = torch.cat((corner, corner + 6 + drawn(4, count, 2)), dim=1)
    given = draw(st.sampled_from(("predcls", "sgcls", "sggen")))
    labels = drawn(3, count)
    moved = true_boxes if given != "sggen" else true_boxes + torch.rand(count, 4, generator=generator)
    guessed = labels if given == "predcls" else torch.where(drawn(3, count) > 0, labels, drawn(3, count))
    pairs = torch.tensor([[s, o] for s in range(count) for o in range(count) if s != o])
    rows = torch.cat((pairs[drawn(len(pairs), 5)], drawn(3, 5, 1)), dim=1)[: draw(st.integers(1, 5))]
    target = SceneGraph(Boxes(true_boxes, labels, SIZE, CLASSES), rows, PREDICATES)
    ids = torch.arange(3).repeat(len(pairs))[:, None]
    triplets = torch.cat((pairs.repeat_interleave(3, dim=0), ids), dim=1)
    triplets = triplets[torch.randperm(len(triplets), generator=generator)][: draw(st.integers(0, len(triplets)))]
    scores = 1 - (torch.randperm(len(triplets), generator=generator) + 1) / (len(triplets) + 2)
    prediction = SceneGraph(Boxes(moved, guessed, SIZE, CLASSES), triplets, PREDICATES, scores)
    return given, prediction, target


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inside = max(width, 0) * max(height, 0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def naive_ranks(protocol, constraint, prediction, target):
    """Loops over triplets: [(triplet of labels, rank or None, rank between its own boxes)]."""
    rows = sorted(zip(prediction.scores.tolist(), prediction.triplets.tolist(), strict=True), reverse=True)
    if constraint:
        seen, kept = set(), []
        for score, (s, o, p) in rows:
            if (s, o) not in seen:
                kept.append((score, [s, o, p]))
            seen.add((s, o))
        rows = kept
    ours, theirs = prediction.boxes, target.boxes
    near = lambda t, q: iou(theirs.xyxy[t].tolist(), ours.xyxy[q].tolist()) >= 0.5  # noqa: E731
    own = near if protocol == "sggen" else (lambda t, q: t == q)
    label = lambda t, q: int(theirs.labels[t]) == int(ours.labels[q])  # noqa: E731
    out = []
    for s, o, p in target.triplets.tolist():
        rank, between, pair_rank = None, 0, 301
        for position, (_, (a, b, q)) in enumerate(rows):
            right = label(s, a) and label(o, b) and p == q
            if rank is None and right and near(s, a) and near(o, b):
                rank = position
            forward = own(s, a) and own(o, b)
            if forward and right and pair_rank == 301:
                pair_rank = between
            between += forward or (own(s, b) and own(o, a))
        out.append(((int(theirs.labels[s]), p, int(theirs.labels[o])), rank, pair_rank))
    return out


def naive(images, counts, k, aggregate):
    """The figures at one K from `naive_ranks` of each image."""

    def recall(part):
        each = [[r is not None and r < k for t, r, _ in image if part(t)] for image in images]
        each = [hits for hits in each if hits]
        if not each:
            return None
        return fmean(map(fmean, each)) if aggregate == "images" else fmean(hit for hits in each for hit in hits)

    figures = {f"R@{k}": recall(lambda t: True)}
    for name, low, high in (("zs", 0, 0), ("10shot", 1, 10), ("100shot", 11, 100)):
        figures[f"{name}R@{k}"] = recall(lambda t, low=low, high=high: low <= counts.get(t, 0) <= high)
    each = [recall(lambda t, p=p: t[1] == p) for p in range(3)]
    each = [value for value in each if value is not None]
    figures |= {f"mR@{k}": fmean(each), f"mR@{k}/all_predicates": sum(each) / 3}
    edges = [(t, r) for image in images for t, _, r in image]
    weights = [1 / (counts.get(t, 0) + 1) for t, _ in edges]
    for top in (1, 5, 10, 15, 20, 50):
        hits = [r < top for _, r in edges]
        figures[f"R_tr@{top}"] = fmean(hits)
        figures[f"wR_tr@{top}"] = sum(w for w, hit in zip(weights, hits) if hit) / sum(weights)
    ranks = [r for _, r in edges]
    figures |= {"rank_tr_mean": fmean(ranks), "rank_tr_median": median(ranks)}
    return {name: value for name, value in figures.items() if value is not None}


@settings(max_examples=40, deadline=None)
@given(cases(), cases(), st.booleans(), st.sampled_from(("images", "relations")), st.integers(1, 8))
def test_agrees_with_a_naive_loop(one, two, constraint, aggregate, k):
    counts = {(0, 0, 0): 3, (0, 1, 1): 10, (1, 1, 0): 11, (2, 2, 2): 100, (1, 0, 2): 500, (2, 0, 0): 1}
    named = {(CLASSES[s], PREDICATES[p], CLASSES[o]): n for (s, p, o), n in counts.items()}
    protocol = one[0]
    images = [one] + ([two] if two[0] == protocol else [])
    options = {"protocol": protocol, "graph_constraint": constraint, "aggregate": aggregate, "counts": named}
    metric = measured([p for _, p, _ in images], [t for _, _, t in images], top=(k,), **options)
    want = naive([naive_ranks(protocol, constraint, p, t) for _, p, t in images], counts, k, aggregate)
    assert metric.compute() == pytest.approx(want)
    each = metric.predicate_recall(k)
    assert fmean(each.values()) == pytest.approx(want[f"mR@{k}"])


@given(cases(), st.booleans(), st.randoms(use_true_random=False))
def test_laws(case, constraint, random):
    protocol, prediction, target = case
    options = {"protocol": protocol, "graph_constraint": constraint}
    whole = measured([prediction], [target], **options).compute()
    assert all(0 <= value <= 1 for name, value in whole.items() if "rank" not in name)
    assert all(whole[f"R@{a}"] <= whole[f"R@{b}"] for a, b in zip(KS, KS[1:]))
    order = list(range(len(target.boxes)))
    random.shuffle(order)
    order = torch.tensor(order)
    turned = [graph.select_boxes(order) for graph in (prediction, target)]
    assert measured(turned[:1], turned[1:], **options).compute() == pytest.approx(whole)
    rows = torch.randperm(len(prediction), generator=torch.Generator().manual_seed(random.randrange(99)))
    assert measured([prediction.select(rows)], [target], **options).compute() == pytest.approx(whole)


@given(cases(), st.booleans())
def test_a_wrong_prediction_at_the_end_changes_nothing(case, constraint):
    protocol, prediction, target = case
    named = set(target.names)
    labels = prediction.boxes.names
    wrong = [[0, 1, p] for p in range(3) if (labels[0], PREDICATES[p], labels[1]) not in named]
    wrong = [row for row in wrong if row not in prediction.triplets.tolist()]
    assume(wrong)
    longer = SceneGraph(
        prediction.boxes,
        torch.cat((prediction.triplets, torch.tensor(wrong))),
        PREDICATES,
        torch.cat((prediction.scores, torch.zeros(len(wrong)))),
    )
    options = {"protocol": protocol, "graph_constraint": constraint}
    assert measured([longer], [target], **options).compute() == measured([prediction], [target], **options).compute()


@given(cases())
def test_the_truth_as_prediction_is_perfect_without_constraint(case):
    _, _, target = case
    sure = SceneGraph(target.boxes, target.triplets, PREDICATES, torch.ones(len(target)))
    for protocol in ("predcls", "sgcls", "sggen"):
        figures = measured([sure], [target], protocol=protocol, graph_constraint=False).compute()
        assert figures["R@5"] == figures["mR@5"] == 1


@given(cases(), cases())
def test_merging_equals_feeding_all(one, two):
    if one[0] != two[0]:
        return
    options = {"protocol": one[0], "counts": COUNTS}
    whole = measured([one[1], two[1]], [one[2], two[2]], **options).compute()
    other_order = measured([two[1], one[1]], [two[2], one[2]], **options).compute()
    parts = measured([one[1]], [one[2]], **options).merge(measured([two[1]], [two[2]], **options))
    assert parts.compute() == pytest.approx(whole) and other_order == pytest.approx(whole)


def test_macro_and_micro_averages_differ_and_images_without_triplets_are_skipped():
    silent = SceneGraph(boxes(), torch.zeros(0, 3).long(), PREDICATES, torch.zeros(0))
    targets = [true(((2, 3, 2),)), true(((0, 1, 2), (0, 2, 2), (1, 0, 2))), true(())]
    metric = measured([predicted(), silent, predicted()], targets, top=(1,))
    assert metric.skipped == 1
    assert metric.compute()["R@1"] == 0.5  # 1 of 1, 0 of 3 without a prediction
    assert metric.compute("relations")["R@1"] == 0.25
    assert metric.compute()["mR@1/all_predicates"] == pytest.approx(0.5 / 3)
    assert metric.predicate_recall(1) == {"p3": 0.5}
    assert isinstance(metric, Metric)


def test_refusals():
    metric = SceneGraphMetric(CLASSES, PREDICATES)
    with pytest.raises(DataError, match="1 predictions came with 0 targets"):
        metric.update([predicted()], [])
    with pytest.raises(DataError, match="has no scores"):
        metric.update([true()], [true()])
    with pytest.raises(DataError, match=r"is for an image of \(30, 30\) \(H, W\) and its target of \(9, 9\)"):
        small = Boxes(boxes().xyxy, boxes().labels, (9, 9), CLASSES)
        metric.update([predicted()], [true(nodes=small)])
    with pytest.raises(
        DataError, match="gives the model the target's labels, but box 3 is '5' in a prediction and '4'"
    ):
        metric.update([predicted("sgcls")], [true()])
    fewer = predicted().select_boxes(torch.tensor([0, 1, 2]))
    with pytest.raises(
        DataError, match="protocol 'predcls' gives .* a prediction has 3 boxes that are not the target's 4"
    ):
        metric.update([fewer], [true()])
    with pytest.raises(DataError, match="the predicate list of the prediction has 2 classes but the metric has 3"):
        metric.update([SceneGraph(boxes(), torch.zeros(0, 3).long(), ("p1", "p2"), torch.zeros(0))], [true()])
    with pytest.raises(DataError, match="the target has 2 classes but the metric has 5"):
        other = Boxes(boxes().xyxy, torch.zeros(4).long(), SIZE, ("a", "b"))
        metric.update([predicted()], [true(nodes=other)])
    with pytest.raises(DataError, match="no triplet was added"):
        metric.compute()
    for options, message in (
        ({"protocol": "sgdet"}, "protocol is 'sgdet'; use one of predcls, sgcls, sggen"),
        ({"top": ()}, r"top is \(\); give at least one K"),
        ({"top": (0, 5)}, r"top is \(0, 5\)"),
        ({"aggregate": "pixels"}, "aggregate is 'pixels'; use 'images' or 'relations'"),
        ({"counts": {("1", "p9", "2"): 3}}, r"the triplet \('1', 'p9', '2'\), which is not made of"),
    ):
        with pytest.raises(DataError, match=message):
            SceneGraphMetric(CLASSES, PREDICATES, **options)
    with pytest.raises(DataError, match="differ in protocol: 'predcls' and 'sgcls'"):
        metric.merge(SceneGraphMetric(CLASSES, PREDICATES, protocol="sgcls"))
    with pytest.raises(DataError, match="the metrics differ in counts"):
        metric.merge(SceneGraphMetric(CLASSES, PREDICATES, counts=COUNTS))
    with pytest.raises(DataError, match="ClassificationMetric cannot be merged"):
        metric.merge(ClassificationMetric(CLASSES))
    with pytest.raises(DataError, match=r"K is 101; this metric ranked the first 100: use 1\.\.100"):
        metric.predicate_recall(101)
    with pytest.raises(DataError, match=r"K is 0; this metric ranked the first 100: use 1\.\.100"):
        metric.image_recall(0)


def test_recall_of_images_averages_to_mean_recall():
    targets = [true(((2, 3, 2),)), true(((0, 1, 2), (0, 2, 0), (1, 0, 2))), true(((0, 1, 0),))]
    metric = measured([predicted()] * 3, targets, top=(2,))
    found = metric.image_recall(2)
    assert found.shape == (3, 3)
    assert found.isnan().tolist() == [[True, True, False], [False, True, False], [False, True, True]]
    assert mean_of_groups(found).item() == pytest.approx(metric.compute()["mR@2"])


def test_recall_of_a_part_averages_to_the_figure_of_that_part():
    targets = [true(((2, 3, 2),)), true(((0, 1, 2), (0, 2, 0), (1, 0, 2))), true(((0, 1, 0),))]
    metric = measured([predicted()] * 3, targets, top=(2,), counts=COUNTS)
    figures = metric.compute()
    for part, name in (("", "R@2"), ("zs", "zsR@2"), ("10shot", "10shotR@2"), ("100shot", "100shotR@2")):
        found = metric.image_recall(2, part)
        assert found.shape == (3, 1)
        if name in figures:
            assert found.nanmean().item() == pytest.approx(figures[name])
        else:
            assert bool(found.isnan().all())
    assert "zsR@2" in figures
    with pytest.raises(DataError, match="part is 'few'"):
        metric.image_recall(2, "few")
    with pytest.raises(DataError, match="part is 'zs'"):
        measured([predicted()], targets[:1]).image_recall(2, "zs")
