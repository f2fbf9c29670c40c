"""The OOD head on a classification head: fitted statistics, a calibrated threshold, and both saved with the model."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError, DataError
from visgen.structures import ClassLabel, OODLabel, OODVerdict
from visgen.structures.features import Features
from visgen.task import TASKS, MultiTaskModel, build_model
from visgen.task.ood import OODHead
from visgen.zoo import from_pretrained, save_pretrained

NAMES = ("cat", "dog", "owl")
N, D = 300, 12
TASK = TASKS.get("ood")
BACKBONE = {
    "name": "vit_moe",
    "width": 16,
    "depth": 2,
    "heads": 2,
    "num_experts": 4,
    "top_k": 2,
    "attention_experts": 4,
}


def world(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, list[ClassLabel]]:
    """Vectors around three directions, with logits that tell them."""
    labels = torch.arange(N) % 3
    vectors = 3 * torch.eye(3, D)[labels] + 0.4 * torch.randn(N, D, generator=torch.Generator().manual_seed(seed))
    return vectors[:, :3] * 2, vectors, [ClassLabel(int(i), NAMES) for i in labels]


def fitted(**options: object) -> OODHead:
    head = OODHead({}, D, classes=3, **options)
    TASK.fit(head, *world())
    TASK.calibrate(head, *world(1)[:2])
    return head


def model(**options: object) -> MultiTaskModel:
    torch.manual_seed(0)
    heads = {
        "classification.a": {"task": "classification", "classes": NAMES},
        "classification.b": {"task": "classification", "classes": ("x", "y")},
        "ood": {"task": "ood", "options": options, "on": "classification.b"},
    }
    return build_model({"backbone": BACKBONE, "heads": heads}).eval()


def test_scores_are_those_of_the_named_score_and_the_threshold_keeps_the_share() -> None:
    head = fitted(score="energy", score_options={"temperature": 2.0}, keep=0.9)
    logits, vectors, _ = world(1)
    scores = head(Features({}, vectors), logits)
    torch.testing.assert_close(scores, -2 * (logits / 2).logsumexp(1))
    assert float((scores <= head.threshold).float().mean()) == pytest.approx(0.9)
    answers = TASK.decode(scores, (), [(1, 1)] * N, [(1, 1)] * N, **TASK.decode_options(head))
    assert [a.score for a in answers] == scores.tolist()
    assert {(a.keeps, a.score_name, a.threshold) for a in answers} == {(0.9, "energy", float(head.threshold))}
    assert sum(bool(a.is_ood) for a in answers) == N // 10


def test_unlike_vectors_are_flagged() -> None:
    head = fitted()
    logits, vectors, _ = world(2)
    assert float((head(Features({}, vectors), logits) > head.threshold).float().mean()) < 0.1
    assert bool((head(Features({}, -vectors), -logits) > head.threshold).all())


def test_a_refitted_head_has_no_threshold_until_it_is_calibrated() -> None:
    head = fitted()
    TASK.fit(head, *world(3))
    options = TASK.decode_options(head)
    assert options["threshold"] is None
    (answer,) = TASK.decode(torch.tensor([1.5]), (), [(1, 1)], [(1, 1)], **options)
    assert (answer.score, answer.threshold, answer.keeps, answer.is_ood) == (1.5, None, None, None)
    assert TASK.metric_options(head, (), None, "") == {"threshold": None}


def test_the_head_reads_the_head_below_and_its_route() -> None:
    net = model()
    assert net.below("ood") == "classification.b" and net.route("ood") == "classification"
    assert net.head("ood").score.classes == 2 and net.backbone.tasks == ("classification",)
    images = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        logits, features = net(images, "classification.b")
    generator = torch.Generator().manual_seed(0)
    targets = [ClassLabel(i % 2, ("x", "y")) for i in range(30)]
    train = [torch.randn(30, n, generator=generator) for n in (2, net.backbone.token_dim)]
    TASK.fit(net.head("ood"), *train, targets)
    TASK.calibrate(net.head("ood"), *train)
    answers = net.predict(images, ["ood"])["ood"]
    assert [a.score for a in answers] == pytest.approx(net.head("ood").score(logits, features.token).tolist(), rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_statistics_are_saved_whole_whatever_the_weights_are_saved_in(tmp_path, dtype) -> None:
    net = model()
    head = net.head("ood")
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(30, n, generator=generator) for n in (2, net.backbone.token_dim)]
    TASK.fit(head, *given, [ClassLabel(i % 2, ("x", "y")) for i in range(30)])
    TASK.calibrate(head, *given)
    again = from_pretrained(save_pretrained(net, tmp_path / "m", dtype=dtype)).head("ood")
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in head.state_dict().items())
    assert torch.equal(head.score(*given), again.score(*given))


def test_the_metric_knows_the_threshold() -> None:
    head = fitted(keep=1.0)
    metric = TASK.metric((), **TASK.metric_options(head, (), None, ""))
    t = float(head.threshold)
    metric.update(
        [OODVerdict(t), OODVerdict(t + 1), OODVerdict(t - 1)], [OODLabel(False), OODLabel(True), OODLabel(True)]
    )
    figures = metric.compute()
    assert (figures["id_kept"], figures["ood_found"], figures["AUROC"]) == (1.0, 0.5, 0.5)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="never fitted, so it knows no images to compare with; run visgen fit"):
        model().predict(torch.rand(1, 3, 32, 32), ["ood"])
    with pytest.raises(ConfigError, match="keep of the OOD head is 95"):
        OODHead({}, D, classes=3, keep=95)
    with pytest.raises(ConfigError, match="got a NoneType as queries; give the logits"):
        fitted()(Features({}, torch.zeros(1, D)))
    with pytest.raises(DataError, match="no validation image came"):
        TASK.calibrate(fitted(), torch.zeros(0, 3), torch.zeros(0, D))
    with pytest.raises(ConfigError, match="head 'ood' stands on a head of task 'classification'"):
        build_model({"backbone": BACKBONE, "heads": {"depth": {"task": "depth"}, "ood": {"task": "ood"}}})
    with pytest.raises(LookupError, match="did you mean 'energy'"):
        model(score="enrgy")


def dense(**heads: object) -> MultiTaskModel:
    torch.manual_seed(0)
    known = {
        "classification": {"task": "classification", "classes": NAMES},
        "segmentation": {"task": "segmentation", "classes": ("sky", "road"), "options": {"width": 8, "fine_width": 8}},
        "detection": {"task": "detection", "classes": ("car", "bus", "van"), "options": {"width": 8, "depth": 1}},
    }
    return build_model({"backbone": BACKBONE, "heads": {**known, **heads}}).eval()


def fit_by_hand(net: MultiTaskModel, name: str) -> OODHead:
    head, generator = net.head(name), torch.Generator().manual_seed(0)
    classes, width = head.score.classes, head.score.dim
    given = torch.randn(30, classes, generator=generator), torch.rand(30, width, generator=generator)
    if head.reads == "routing":
        given = given[0], torch.softmax(given[1], 1)
    head.score.fit(*given, torch.arange(30) % classes)
    TASK.calibrate(head, *given)
    return head


def test_a_verdict_names_its_percentile_and_the_nearest_classes() -> None:
    head = fitted(score="mahalanobis", quantiles=101)
    logits, vectors, labels = world(1)
    queries = TASK.queries([], logits, [(1, 1)] * N)
    scores = head(Features({}, vectors), queries)
    plain = TASK.decode(scores, (), [(1, 1)] * N, [(1, 1)] * N, **TASK.decode_options(head))
    below = model().specs["classification.a"]
    told = TASK.explain(plain, head, Features({}, vectors), queries, below)
    ranks = (scores[:, None] > scores[None]).float().mean(1)
    assert all(abs(v.percentile - float(r)) < 0.02 for v, r in zip(told, ranks, strict=True))
    assert sum(v.nearest[0][0] == label.name for v, label in zip(told, labels, strict=True)) > 0.95 * N
    assert all(v.nearest[0][1] == pytest.approx(v.score, rel=1e-4) and len(v.nearest) == 3 for v in told)
    assert (head.percentile(-1e9), head.percentile(1e9)) == (0.0, 1.0)
    assert fitted().percentile(0.0) is None


def test_a_dense_head_below_gives_evidence_and_a_map_of_its_own_part() -> None:
    logits = torch.zeros(2, 2, 3, 4)
    logits[0, 1, 0, 0], logits[0, 0, 2, 3], logits[1, 0, 2, 3] = 5.0, 2.0, 7.0
    queries = TASK.queries([], logits, [(12, 16), (8, 12)])
    assert queries.logits.tolist() == [[2.0, 5.0], [0.0, 0.0]]  # of the second image that cell is padding
    assert [tuple(m.shape) for m in queries.maps] == [(3, 4), (2, 3)]
    assert float(queries.maps[0][0, 0]) == -5.0
    rows = torch.zeros(1, 2, 10)
    rows[0, 0, :2], rows[0, 0, 7:] = torch.tensor([4.0, 4]), torch.tensor([1.0, -2, 3])
    rows[0, 1, :2], rows[0, 1, 7:] = torch.tensor([40.0, 4]), torch.tensor([9.0, 9, 9])  # a point in the padding
    assert TASK.queries([], rows, [(8, 8)]).logits.tolist() == [[1.0, -2.0, 3.0]]


@pytest.mark.parametrize("below", ["classification", "segmentation", "detection"])
def test_every_answer_carries_the_verdict_of_its_own_head(below: str, tmp_path) -> None:
    net = dense(**{"ood.x": {"task": "ood", "on": below, "options": {"score": "joint_energy", "quantiles": 11}}})
    images = torch.rand(2, 3, 32, 48)
    assert all(a.ood is None for a in net.predict(images, [below], verdicts=True)[below])  # not fitted yet
    fit_by_hand(net, "ood.x")
    carried = net.predict(images, [below], verdicts=True)[below]
    alone = net.predict(images, ["ood.x"])["ood.x"]
    assert [a.ood.score for a in carried] == pytest.approx([v.score for v in alone], rel=1e-5)
    assert all(a.ood is None for a in net.predict(images, [below])[below])
    averaged = net.predict(images, [below], verdicts=True, tta=True)[below]  # the threshold is that of plain pictures
    assert [a.ood.score for a in averaged] == [a.ood.score for a in carried]
    again = type(carried[0]).from_dict(carried[0].to_dict())
    assert again.ood.to_dict() == carried[0].ood.to_dict() and again.to("cpu").ood.score == again.ood.score
    assert (again.ood.map is not None) == (below == "segmentation")
    net = from_pretrained(save_pretrained(net, tmp_path / "m"))
    assert net.predict(images, ["ood.x"])["ood.x"][0].percentile == pytest.approx(alone[0].percentile, abs=1e-4)


def test_the_routing_score_reads_the_experts_of_every_token() -> None:
    net = dense(ood={"task": "ood", "options": {"score": "routing", "reads": "routing"}})
    assert net.head("ood").score.dim == sum(layer.num_experts for layer in net.backbone.routed_layers)
    fit_by_hand(net, "ood")
    images = torch.rand(2, 3, 32, 48)
    features = net.features(images, ["ood"])["classification"]
    usage = net.head("ood").vectors(features)
    layers = len(net.backbone.routed_layers)
    torch.testing.assert_close(usage.sum(1), torch.full((2,), float(layers)))
    both = net.predict(images, ["ood", "depth"] if "depth" in net.specs else ["ood", "segmentation"])
    assert [v.score for v in both["ood"]] == pytest.approx(net.head("ood").score(torch.zeros(2, 3), usage).tolist())
    with pytest.raises(ConfigError, match="the backbone has no experts; use 'token'"):
        OODHead({}, D, classes=3, reads="routing")
    with pytest.raises(ConfigError, match="reads of the OOD head is 'tokens'; did you mean 'token'"):
        OODHead({}, D, classes=3, reads="tokens")
    with pytest.raises(ConfigError, match="quantiles of the OOD head is 1"):
        OODHead({}, D, classes=3, quantiles=1)
