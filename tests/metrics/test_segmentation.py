"""IoU against hand-worked cases, a naive loop over sets of pixels, and scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.metrics import ClassificationMetric, Metric, SegmentationMetric
from visgen.structures import SemanticMap

NAMES = ("sky", "road", "car", "tree", "person")


def draw(seed, images=4, used=4, right=0.6):
    """Maps of different sizes whose predictions are right at about a share `right`; class `person` never occurs."""
    rng = np.random.default_rng(seed)
    predictions, targets = [], []
    for _ in range(images):
        size = tuple(rng.integers(3, 9, 2))
        y = rng.integers(0, used, size)
        p = np.where(rng.random(size) < right, y, rng.integers(0, used, size))
        y[rng.random(size) < 0.2] = 255
        predictions.append(SemanticMap(torch.from_numpy(p).long(), NAMES))
        targets.append(SemanticMap(torch.from_numpy(y).long(), NAMES))
    return predictions, targets


def measured(predictions, targets, **options):
    metric = SegmentationMetric(NAMES, **options)
    metric.update(predictions, targets)
    return metric


def naive(predictions, targets, over="union"):
    """Sets of (image, row, column) instead of a confusion matrix."""
    true = {c: set() for c in range(len(NAMES))}
    named = {c: set() for c in range(len(NAMES))}
    pixels = right = 0
    for n, (p, y) in enumerate(zip(predictions, targets, strict=True)):
        for i, j in np.ndindex(*y.ids.shape):
            a, b = int(p.ids[i, j]), int(y.ids[i, j])
            if b == 255:
                continue
            pixels += 1
            right += a == b
            true[b].add((n, i, j))
            if a != 255:
                named[a].add((n, i, j))
    figures = {}
    for c, name in enumerate(NAMES):
        if true[c] or (over == "union" and named[c]):
            figures[f"IoU/{name}"] = len(true[c] & named[c]) / len(true[c] | named[c])
    return {"mIoU": sum(figures.values()) / len(figures), "pixel_accuracy": right / pixels, **figures}


def test_hand_worked():
    target = SemanticMap(torch.tensor([[0, 0, 1], [1, 255, 1]]), NAMES)
    prediction = SemanticMap(torch.tensor([[0, 1, 1], [1, 3, 2]]), NAMES)
    # sky: 1 of 2; road: 2 right, true 3, named 3, union 4; car: invented, 0 of 1; tree: only where ignored, so left out
    figures = measured([prediction], [target]).compute()
    assert figures == pytest.approx(
        {"mIoU": (0.5 + 0.5 + 0) / 3, "pixel_accuracy": 3 / 5, "IoU/sky": 0.5, "IoU/road": 0.5, "IoU/car": 0.0}
    )
    only = measured([prediction], [target], over="target").compute()
    assert only == pytest.approx({"mIoU": 0.5, "pixel_accuracy": 3 / 5, "IoU/sky": 0.5, "IoU/road": 0.5})


@pytest.mark.parametrize("over", ["union", "target"])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_a_naive_loop(seed, over):
    predictions, targets = draw(seed, used=4)
    predictions[0].ids[0, 0] = 4  # invents class person once
    targets[0].ids[0, 0] = 0
    predictions[1].ids[0] = 255  # the model leaves a row out
    figures = measured(predictions, targets, over=over).compute()
    assert figures == pytest.approx(naive(predictions, targets, over))


def test_agrees_with_scikit_learn():
    predictions, targets = draw(7, right=0.4)
    y = torch.cat([t.ids.flatten() for t in targets])
    p = torch.cat([t.ids.flatten() for t in predictions])
    y, p = y[y != 255].numpy(), p[y != 255].numpy()
    metric = measured(predictions, targets)
    figures = metric.compute()
    each = sklearn.metrics.jaccard_score(y, p, labels=range(4), average=None)
    assert [figures[f"IoU/{n}"] for n in NAMES[:4]] == pytest.approx(each.tolist())
    assert figures["mIoU"] == pytest.approx(sklearn.metrics.jaccard_score(y, p, average="macro"))
    assert figures["pixel_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, p))
    table = sklearn.metrics.confusion_matrix(y, p, labels=range(5))
    assert metric.confusion()[:, :5].tolist() == table.tolist()
    assert "IoU/person" not in figures


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 4))
def test_laws(seed, cut):
    predictions, targets = draw(seed)
    whole = measured(predictions, targets).compute()
    assert all(0 <= value <= 1 for value in whole.values())
    assert measured(predictions[::-1], targets[::-1]).compute() == pytest.approx(whole)
    first, second = measured(predictions[:cut], targets[:cut]), measured(predictions[cut:], targets[cut:])
    assert first.merge(second).compute() == pytest.approx(whole)
    flipped = [[SemanticMap(m.ids.flip(1), NAMES) for m in maps] for maps in (predictions, targets)]
    assert measured(*flipped).compute() == pytest.approx(whole)
    perfect = measured([SemanticMap(t.ids.clamp_max(3), NAMES) for t in targets], targets).compute()
    assert perfect["mIoU"] == perfect["pixel_accuracy"] == 1.0


def test_iou_is_symmetric_without_ignored_pixels():
    predictions, targets = draw(11)
    targets = [SemanticMap(t.ids.clamp_max(3), NAMES) for t in targets]
    assert measured(predictions, targets).compute() == pytest.approx(measured(targets, predictions).compute())


def test_a_data_set_is_one_confusion_and_not_a_mean_over_images():
    a = SemanticMap(torch.zeros(1, 9).long(), NAMES)
    b = SemanticMap(torch.ones(1, 1).long(), NAMES)
    wrong = SemanticMap(torch.zeros(1, 1).long(), NAMES)
    figures = measured([a, wrong], [a, b]).compute()
    assert figures["IoU/sky"] == pytest.approx(0.9) and figures["IoU/road"] == 0.0


def test_keeps_the_contract_of_a_metric():
    assert isinstance(SegmentationMetric(NAMES), Metric)


def test_refusals():
    metric = SegmentationMetric(NAMES)
    predictions, _ = draw(0, images=1)
    small = SemanticMap(torch.zeros(2, 3).long(), NAMES)
    large = SemanticMap(torch.zeros(4, 6).long(), NAMES)
    with pytest.raises(DataError, match=r"predicted map is \(2, 3\) and its target \(4, 6\).*resize the logits"):
        metric.update([small], [large])
    with pytest.raises(DataError, match="1 predictions came with 0 targets"):
        metric.update(predictions, [])
    with pytest.raises(DataError, match="target calls class 0 'road' but the metric calls it 'sky'"):
        metric.update([small], [SemanticMap(small.ids, ("road", "sky", *NAMES[2:]))])
    with pytest.raises(DataError, match="no labelled pixel"):
        metric.compute()
    metric.update([small], [SemanticMap(torch.full((2, 3), 255), NAMES)])
    with pytest.raises(DataError, match="no labelled pixel"):
        metric.compute()
    with pytest.raises(DataError, match="over is 'all'"):
        SegmentationMetric(NAMES, over="all")
    with pytest.raises(DataError, match="differ in over"):
        metric.merge(SegmentationMetric(NAMES, over="target"))
    with pytest.raises(DataError, match="ClassificationMetric cannot be merged into a SegmentationMetric"):
        metric.merge(ClassificationMetric(NAMES))
    with pytest.raises(DataError, match="got 256 classes"):
        SegmentationMetric([str(i) for i in range(256)])
