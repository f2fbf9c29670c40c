"""The scene-graph task: queries of each protocol, decoding, counts, learning, and evaluation end to end."""

from types import SimpleNamespace

import pytest
import torch

from visgen.backbones import BACKBONES
from visgen.data import Batch, Sample, triplet_counts
from visgen.engine import evaluate
from visgen.errors import ConfigError, DataError
from visgen.heads import GraphLogits, GraphQueries
from visgen.heads.figure import figure_targets
from visgen.heads.scene_graph import all_pairs
from visgen.structures import Boxes, Masks, SceneGraph
from visgen.task import TASKS, HeadSpec, MultiTaskModel, MultiTaskObjective

CLASSES = ("cat", "mat", "tree")
PREDICATES = ("on", "under", "left of")
SIZE = (64, 96)
TASK = TASKS.get("scene_graph")
XYXY = torch.tensor([[10.0, 10, 40, 30], [8.0, 28, 50, 40], [60.0, 5, 90, 60]])


def graph(triplets, labels=(0, 1, 2), xyxy=XYXY, size=SIZE):
    boxes = Boxes(xyxy, torch.tensor(labels, dtype=torch.int64), size, CLASSES)
    return SceneGraph(boxes, torch.tensor(triplets, dtype=torch.int64).reshape(-1, 3), PREDICATES)


def graphs():
    first = graph([[0, 1, 0], [1, 0, 1], [0, 2, 2]])
    second = graph([[1, 0, 1], [0, 1, 0]], (1, 0), torch.tensor([[20.0, 30, 80, 50], [30.0, 12, 60, 32]]))
    return [first, second]


class Graphs:
    """A source of given graphs, with images by position."""

    name = "cats"

    def __init__(self, targets):
        self.targets = targets
        self.heads = {"scene_graph": "scene_graph.cats", "detection": "detection.cats"}
        self.classes = {"scene_graph": PREDICATES, "detection": CLASSES}

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        value = self.targets[index]
        pixels = torch.rand(3, *value.size, generator=torch.Generator().manual_seed(index))
        return Sample(pixels, {"detection": value.boxes, "scene_graph": value}, {})


def small_model(**options):
    torch.manual_seed(0)
    options = {"width": 16, "state": 32, "label_width": 8, **options}
    specs = {
        "detection.cats": HeadSpec("detection", CLASSES),
        "scene_graph.cats": HeadSpec("scene_graph", PREDICATES, options=options),
    }
    return MultiTaskModel(BACKBONES.get("timm")(model="test_resnet"), specs)


def photographs():
    return torch.stack([Graphs(graphs())[i].image for i in range(2)])


def test_queries_are_scaled_to_pixels_of_the_batch():
    asked = TASK.queries(graphs(), None, [(32, 96), (128, 48)], "predcls")
    assert torch.equal(asked.xyxy[0], XYXY * torch.tensor([1.0, 0.5, 1.0, 0.5]))
    assert torch.equal(asked.xyxy[1], graphs()[1].boxes.xyxy * torch.tensor([0.5, 2.0, 0.5, 2.0]))
    assert asked.sizes == [(32, 96), (128, 48)]
    assert asked.labels[0].tolist() == [0, 1, 2] and asked.scores == [None, None] and asked.classes == CLASSES


def test_predcls_gives_boxes_and_labels_back_unchanged():
    model, sizes = small_model(), [SIZE, SIZE]
    given = {"scene_graph.cats": ("predcls", graphs())}
    answers = model.predict(photographs(), ["scene_graph"], sizes=sizes, given=given)["scene_graph.cats"]
    for answer, target in zip(answers, graphs(), strict=True):
        torch.testing.assert_close(answer.boxes.xyxy, target.boxes.xyxy)
        assert torch.equal(answer.boxes.labels, target.boxes.labels) and answer.boxes.scores is None
        assert answer.size == SIZE and answer.predicates == PREDICATES
        assert (answer.scores.diff() <= 0).all()


def logits_of(queries, nodes, edges):
    pairs = [all_pairs(len(x)) for x in queries.xyxy]
    return GraphLogits(nodes, pairs, edges, queries)


def test_decode_by_hand():
    queries = GraphQueries([XYXY[:2]], [torch.tensor([0, 1])], classes=CLASSES)
    shares = torch.tensor([[0.1, 0.6, 0.2, 0.1], [0.5, 0.1, 0.3, 0.1]])
    (answer,) = TASK.decode(logits_of(queries, [torch.zeros(2, 3)], [shares.log()]), PREDICATES, [SIZE], [(128, 96)])
    assert torch.equal(answer.boxes.xyxy, XYXY[:2] * torch.tensor([1.0, 2.0, 1.0, 2.0]))
    assert answer.triplets[:3].tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 1]]
    torch.testing.assert_close(answer.scores[:3], torch.tensor([0.6, 0.3, 0.2]))
    assert len(answer) == 6


def test_pairs_that_are_sure_of_one_predicate_are_not_cut_by_those_that_waver():
    """8 boxes, 56 pairs, 60 predicates: the five wavering pairs alone would fill the 300 best triplets."""
    xyxy = torch.arange(8.0).view(8, 1) * 10 + torch.tensor([0.0, 0, 9, 9])
    queries = GraphQueries([xyxy], [torch.zeros(8, dtype=torch.int64)], classes=CLASSES)
    names = tuple(f"p{i}" for i in range(60))
    shares = torch.full((56, 61), 1e-6)
    shares[:5] = 1 / 61
    shares[5:, :2] = torch.tensor([0.99, 0.01])
    (answer,) = TASK.decode(logits_of(queries, [torch.zeros(8, 3)], [shares.log()]), names, [SIZE], [SIZE])
    assert len(answer.top(300).constrained()) == 5 and len(answer.constrained()) == 56


def test_sgcls_takes_the_likeliest_label_and_its_probability():
    asked = TASK.queries(graphs()[:1], None, [SIZE], "sgcls")
    assert asked.labels == [None]
    shares = torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.2, 0.3], [0.1, 0.1, 0.8]])
    edges = torch.full((6, 4), 0.25).log()
    (answer,) = TASK.decode(logits_of(asked, [shares.log()], [edges]), PREDICATES, [SIZE], [SIZE])
    assert answer.boxes.labels.tolist() == [1, 0, 2]
    torch.testing.assert_close(answer.boxes.scores, torch.tensor([0.7, 0.5, 0.8]))
    assert answer.triplets[0].tolist() == [0, 2, 0]  # the two surest boxes
    assert answer.scores[0].item() == pytest.approx(0.25 * 0.7 * 0.8)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [([0.9, 0.3, 0.21], 3), ([0.9, 0.3, 0.1], 2), ([0.9, 0.1, 0.06], 3), ([0.9, 0.02, 0.001], 2), ([0.005] * 3, 0)],
)
def test_sggen_keeps_the_surest_boxes(scores, kept):
    shuffled = torch.tensor([1, 2, 0])
    found = Boxes(XYXY, torch.tensor([0, 1, 2]), SIZE, CLASSES, scores=torch.tensor(scores)).select(shuffled)
    asked = TASK.queries([found], None, [SIZE])
    assert torch.equal(asked.xyxy[0], XYXY[:kept]) and asked.labels[0].tolist() == [0, 1, 2][:kept]
    assert torch.equal(asked.scores[0], torch.tensor(scores)[:kept])


def test_sggen_keeps_at_most_twelve_boxes():
    corner = 2 * torch.arange(20.0)[:, None] + torch.zeros(20, 2)
    found = Boxes(
        torch.cat([corner, corner + 2], 1), torch.zeros(20, dtype=torch.int64), SIZE, CLASSES, scores=torch.rand(20)
    )
    assert len(TASK.queries([found], None, [SIZE]).xyxy[0]) == 12


def test_sggen_takes_one_box_for_each_place_whatever_its_class():
    xyxy = torch.tensor([[0.0, 0, 20, 20], [1, 0, 20, 20], [30, 0, 50, 20]])
    found = Boxes(xyxy, torch.tensor([0, 1, 2]), SIZE, CLASSES, scores=torch.tensor([0.4, 0.6, 0.5]))
    asked = TASK.queries([found], None, [SIZE])
    assert asked.labels[0].tolist() == [1, 2] and torch.equal(asked.xyxy[0], xyxy[1:])


def test_training_pairs_keep_every_relation_where_there_are_too_many():
    count = 40
    corner = torch.arange(float(count))[:, None] + torch.zeros(count, 2)
    triplets = [[i, (i + 1) % count, 0] for i in range(count)]
    target = graph(triplets, [0] * count, torch.cat([corner, corner + 9], 1))
    (pairs,) = TASK.training_queries([target]).pairs
    assert len(pairs) == 1024
    found = {tuple(p) for p in pairs.tolist()}
    assert len(found) == 1024 and all((s, o) in found for s, o, _ in triplets)


def test_the_geometry_of_training_does_not_count_the_padding(monkeypatch):
    monkeypatch.setattr(type(TASK), "labelled", 1.0)
    objective, losses = MultiTaskObjective(small_model(pixels=False).eval()), []
    height, width = SIZE
    for right, below in ((0, 0), (width, height // 2)):  # the head sees nothing but where the boxes lie
        images = torch.nn.functional.pad(photographs()[:1], (0, right, 0, below))
        given = Batch(images, {"scene_graph": graphs()[:1]}, {"scene_graph": "scene_graph.cats"}, [{"size": SIZE}], "s")
        losses.append(objective.loss(given)["loss"])
    torch.testing.assert_close(*losses)


def test_images_without_a_graph_are_asked_nothing_and_cost_nothing():
    model = small_model().train()
    queries = TASK.training_queries([None, graphs()[1]])
    assert [len(x) for x in queries.xyxy] == [0, 2] and [len(x) for x in queries.pairs] == [0, 2]
    logits, _ = model(photographs(), "scene_graph.cats", None, queries)
    alone = TASK.loss(logits, [None, graphs()[1]], {})
    assert alone.isfinite() and alone > 0


def test_images_without_a_graph_leave_the_others_in_step(monkeypatch):
    monkeypatch.setattr(type(TASK), "labelled", 1.0)
    model, wanted = small_model().eval(), graphs()[0]
    images = torch.rand(3, 3, *SIZE)
    beside = {"masks": [None, masks_of(wanted), None]}
    logits, _ = model(images, "scene_graph.cats", None, TASK.training_queries([None, wanted, None], beside))
    alone, _ = model(
        images[1:2], "scene_graph.cats", None, TASK.training_queries([wanted], {"masks": [beside["masks"][1]]})
    )
    torch.testing.assert_close(TASK.loss(logits, [None, wanted, None], {}), TASK.loss(alone, [wanted], {}))


def test_loss_of_images_with_boxes_but_no_relation():
    model, target = small_model().train(), graph([])
    logits, _ = model(photographs()[:1], "scene_graph.cats", None, TASK.training_queries([target]))
    TASK.loss(logits, [target], {}).backward()


def masks_of(target):
    """The true masks: the left half of each box."""
    planes = torch.zeros(len(target.boxes), *SIZE, dtype=torch.bool)
    for plane, (x1, y1, x2, y2) in zip(planes, target.boxes.xyxy.int().tolist(), strict=True):
        plane[y1:y2, x1 : (x1 + x2) // 2] = True
    return Masks(planes, target.boxes.labels, CLASSES)


def test_figures_learn_from_masks_in_step_with_the_boxes():
    model, targets = small_model().train(), graphs()
    optimiser = torch.optim.Adam(model.head("scene_graph.cats").parameters(), lr=1e-2)
    for step in range(40):
        queries = TASK.training_queries(targets, {"masks": [masks_of(targets[0]), None]})
        logits, _ = model(photographs(), "scene_graph.cats", None, queries)
        loss = TASK.loss(logits, targets, {"figure_weight": 1.0})
        without = TASK.loss(logits, targets, {"figure_weight": 0.0})
        if step == 0:
            wanted = figure_targets(masks_of(targets[0]).masks, targets[0].boxes.xyxy)
            own = torch.nn.functional.binary_cross_entropy_with_logits(logits.figures[0], wanted)
            torch.testing.assert_close(loss - without, own)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    left = logits.figures[0] > 0
    assert left[:, :, :7].float().mean() > 0.9 and left[:, :, 7:].float().mean() < 0.1


def test_figures_without_any_mask_cost_nothing_and_masks_out_of_step_are_refused():
    model, targets = small_model().train(), graphs()
    logits, _ = model(photographs(), "scene_graph.cats", None, TASK.training_queries(targets))
    torch.testing.assert_close(TASK.loss(logits, targets, {}), TASK.loss(logits, targets, {"figure_weight": 0.0}))
    with pytest.raises(DataError, match="a scene graph has 2 boxes but 3 masks; they must be in step"):
        TASK.training_queries(targets, {"masks": [None, masks_of(targets[0])]})


def test_counts_equal_a_naive_count():
    source = Graphs([*graphs(), graphs()[0]])
    model = small_model()
    TASK.learn_counts(model.head("scene_graph.cats"), [source, source], model.specs["detection.cats"])
    table = model.head("scene_graph.cats").counts
    for s, subject in enumerate(CLASSES):
        for o, target in enumerate(CLASSES):
            for p, predicate in enumerate(PREDICATES):
                assert table[s, o, p + 1] == 2 * triplet_counts(source)[subject, predicate, target]
    # No pair of overlapping boxes is without relation, so "none" holds only the one that each source adds.
    assert (table[..., 0] == 2).all()
    free = Graphs([graph([])])
    TASK.learn_counts(model.head("scene_graph.cats"), [free], model.specs["detection.cats"])
    none = model.head("scene_graph.cats").counts[..., 0] - 1
    assert none.nonzero().tolist() == [[0, 1], [1, 0]]  # the cat and the mat overlap, the tree stands apart


@pytest.mark.parametrize("triplets", [[[0, 1, 0]], []])
def test_counts_refuse_classes_that_the_detector_lacks(triplets):
    model = small_model()
    with pytest.raises(DataError, match="source 'cats' has the class 'tree', but the detection head below knows 2"):
        TASK.learn_counts(
            model.head("scene_graph.cats"), [Graphs([graph(triplets)])], HeadSpec("detection", CLASSES[:2])
        )


def test_counts_go_to_the_metric_as_names():
    model, source = small_model(), Graphs(graphs())
    below = model.specs["detection.cats"]
    TASK.learn_counts(model.head("scene_graph.cats"), [source], below)
    options = TASK.metric_options(model.head("scene_graph.cats"), PREDICATES, below, "predcls")
    assert options == {"objects": CLASSES, "counts": dict(triplet_counts(source))}
    metric = TASK.metric(PREDICATES, **options)
    assert metric.classes == CLASSES and metric.predicates == PREDICATES


def test_what_further_splits_show_is_not_unseen():
    model, test = small_model(), Graphs([graph([[0, 1, 0], [0, 2, 2]])])
    train, val = Graphs([graph([[0, 1, 0]])]), Graphs([graph([[0, 2, 2]])])
    TASK.learn_counts(model.head("scene_graph.cats"), [train], model.specs["detection.cats"])
    metric = {"protocol": "predcls", "top": (20,)}
    plain = evaluate(model, test, "scene_graph", metric=metric)
    assert plain.protocol["unseen_in"] == ["training of the head"] and "zsR@20" in plain.metrics
    more = evaluate(model, test, "scene_graph", metric=metric, seen={"val": val})
    assert more.protocol["unseen_in"] == ["training of the head", "val"]
    assert "zsR@20" not in more.metrics and more.metrics["R@20"] == plain.metrics["R@20"]
    metric["counts"] = triplet_counts(val)
    given = evaluate(model, test, "scene_graph", metric=metric, seen={"train": train})
    assert given.protocol["unseen_in"] == ["counts given", "train"] and "zsR@20" not in given.metrics


def test_unknown_loss_options_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'node_weight'"):
        TASK.loss(SimpleNamespace(), [], {"node_wieght": 1})


def learn(model, steps, source):
    """Train on the graphs of a source; gives the losses."""
    images = torch.stack([source[i].image for i in range(len(source))])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        logits, _ = model(images, "scene_graph.cats", None, TASK.training_queries(source.targets))
        loss = TASK.loss(logits, source.targets, {})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_two_images_are_learnt_by_heart_and_measured_by_every_protocol():
    source, model = Graphs(graphs()), small_model(dropout=0.0).train()
    TASK.learn_counts(model.head("scene_graph.cats"), [source], model.specs["detection.cats"])
    before = evaluate(model, source, "scene_graph").metrics["predcls/mR@20"]
    losses = learn(model, 60, source)
    assert losses[1] < losses[0] and losses[-1] < 0.1 * losses[0]
    report = evaluate(model, source, "scene_graph", metric={"top": (3, 20)})
    figures = report.metrics
    assert figures["predcls/mR@3"] == figures["predcls/mR@20"] == 1.0 >= before
    assert figures["sgcls/mR@3"] == 1.0
    assert {name.split("/")[0] for name in figures} == {"predcls", "sgcls", "sggen"}
    assert 0 <= figures["sggen/R@20"] <= 1
    assert "predcls/zsR@20" not in figures  # every triplet is in the counts
    alone = evaluate(model, source, "scene_graph", metric={"top": (3, 20), "protocol": "predcls"})
    assert alone.metrics == {n.split("/", 1)[1]: v for n, v in figures.items() if n.startswith("predcls/")}
    with pytest.raises(ConfigError, match="protocol is 'phrdet'; task 'scene_graph' has predcls, sgcls, sggen"):
        evaluate(model, source, "scene_graph", metric={"protocol": "phrdet"})


def test_evaluation_in_batches_equals_evaluation_one_by_one():
    source, model = Graphs(graphs()), small_model()
    one, two = (evaluate(model, source, "scene_graph", batch_size=b, metric={"top": (2,)}).metrics for b in (1, 2))
    assert one == pytest.approx(two)
