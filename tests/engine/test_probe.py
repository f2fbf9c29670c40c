"""Heads on a fixed backbone: what is seen is what the backbone gives, training repeats, and answers are measured."""

import pytest
import torch

from visgen.backbones import BACKBONES
from visgen.data import Sample
from visgen.engine.probe import Probe, answer, see
from visgen.heads import HEADS
from visgen.structures import Boxes, Masks, SceneGraph, pairwise_iou
from visgen.structures.features import Features
from visgen.task import TASKS

CLASSES, PREDICATES = ("cat", "mat"), ("on", "under")
TASK = TASKS.get("scene_graph")


def sample(size=(64, 96), seed=0):
    shift = 5.0 * seed
    boxes = Boxes(torch.tensor([[10.0, 10, 40, 30], [8 + shift, 28, 50, 40]]), torch.tensor([0, 1]), size, CLASSES)
    graph = SceneGraph(boxes, torch.tensor([[0, 1, 0], [1, 0, 1]]), PREDICATES)
    planes = torch.zeros(2, *size, dtype=torch.bool)
    planes[:, 10:30, 10:40] = True
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))
    return Sample(image, {"scene_graph": graph, "masks": Masks(planes, boxes.labels, CLASSES)})


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return BACKBONES.get("timm")(model="test_resnet").eval()


def fresh(backbone):
    torch.manual_seed(0)
    shape = {"channels": backbone.channels, "token_dim": backbone.token_dim, "outputs": 2, "objects": 2}
    return HEADS.get("scene_graph")(**shape, width=16, state=16, label_width=4)


def test_a_picture_is_seen_as_the_backbone_sees_it(backbone):
    given = sample((64, 640))
    found = see(backbone, given, "scene_graph", max_side=320)
    small = torch.nn.functional.interpolate(given.image[None], (32, 320), mode="bilinear", antialias=True)
    with torch.no_grad():
        wanted = backbone(small)
    assert found.inside == (32, 320) and found.targets is given.targets
    torch.testing.assert_close(found.features.pyramid[8], wanted.pyramid[8].bfloat16(), rtol=0.02, atol=0.02)
    torch.testing.assert_close(found.features.token, wanted.token, rtol=1e-4, atol=1e-5)


def test_a_backbone_of_other_tasks_is_asked_as_for_its_first():
    torch.manual_seed(0)
    options = {"width": 24, "depth": 2, "heads": 3, "num_experts": 3, "top_k": 2, "attention_experts": 3}
    model = BACKBONES.get("vit_moe")(tasks=("depth", "detection"), prefix_depth=0, **options).eval()
    found = see(model, sample(), "scene_graph")
    torch.testing.assert_close(found.features.token, model(sample().image[None], "depth").token.detach())
    assert not torch.equal(found.features.token, see(model, sample(), "detection").features.token)


def test_training_learns_repeats_by_its_seed_and_answers_in_the_size_of_the_target(backbone):
    pictures = [see(backbone, sample(seed=i), "scene_graph") for i in range(3)]
    probe = Probe(steps=40, batch_size=3, loss={"figure_weight": 0.5})
    first, again, other = (probe.fit(fresh(backbone), TASK, pictures, seed) for seed in (0, 0, 1))
    assert not first.training
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same) and not torch.equal(first.predicate.weight, other.predicate.weight)
    found = answer(first, TASK, PREDICATES, see(backbone, sample((128, 640), 1), "scene_graph"), "predcls")
    assert found.size == (128, 640)
    metric = TASK.metric(PREDICATES, objects=CLASSES, top=(2,))
    for picture in pictures:
        metric.update([answer(first, TASK, PREDICATES, picture, "predcls")], [picture.targets["scene_graph"]])
    assert metric.compute()["mR@2"] == 1.0
    assert first.figure.project.weight.sub(fresh(backbone).figure.project.weight).abs().max() > 1e-3


def test_an_average_of_weights_follows_training_and_decay_zero_is_the_last_step(backbone):
    pictures = [see(backbone, sample(seed=i), "scene_graph") for i in range(2)]
    last, none, slow = (
        Probe(steps=6, batch_size=2, average=a).fit(fresh(backbone), TASK, pictures, 0) for a in (None, 0.0, 0.9)
    )
    assert all(torch.equal(a, b) for a, b in zip(last.parameters(), none.parameters(), strict=True))
    start, mean, end = (m.predicate.weight.detach() for m in (fresh(backbone), slow, last))
    assert 0 < (mean - start).norm() < (end - start).norm()


def test_heads_that_need_no_queries_learn_too(backbone):
    torch.manual_seed(0)
    task, given = TASKS.get("detection"), sample()
    shape = {"channels": backbone.channels, "token_dim": backbone.token_dim, "outputs": 2}
    head = HEADS.get("detection")(**shape, width=16, depth=1)
    seen = see(backbone, given.replace(targets={"detection": given.targets["scene_graph"].boxes}), "detection")
    features = Features({s: m.float() for s, m in seen.features.pyramid.items()}, seen.features.token)
    truth = seen.targets["detection"]

    def overlap():
        with torch.no_grad():
            found = task.decode(head(features), CLASSES, [truth.size], [truth.size])[0]
        return float(pairwise_iou(truth.xyxy, found.xyxy).amax(1).mean())

    before = overlap()
    Probe(steps=60, batch_size=1, lr=0.01, half=True).fit(head, task, [seen], 0)
    assert overlap() > max(0.8, before)
