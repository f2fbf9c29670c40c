"""Accuracy against hand-worked cases, scikit-learn and the laws of a metric."""

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.metrics import ClassificationMetric, Metric
from visgen.structures import Classification, ClassLabel

NAMES = tuple("abcdefg")


def draw(seed, images=60, classes=7):
    g = torch.Generator().manual_seed(seed)
    p = torch.randn(images, classes, generator=g).softmax(1)
    y = torch.randint(0, classes, (images,), generator=g)
    return p, y


def typed(p, y, names=NAMES):
    return [Classification(row, names) for row in p], [ClassLabel(int(label), names) for label in y]


def measured(p, y, **options):
    metric = ClassificationMetric(NAMES, **options)
    metric.update(*typed(p, y))
    return metric


def test_hand_worked():
    p = torch.tensor([[0.5, 0.3, 0.1, 0.06, 0.04, 0.0, 0.0], [0.1, 0.4, 0.3, 0.1, 0.05, 0.03, 0.02]])
    figures = measured(p, torch.tensor([0, 6]), per_class=True).compute()
    assert figures == {
        "top1": 0.5,
        "top5": 0.5,
        "mean_class_accuracy": 0.5,
        "accuracy/a": 1.0,
        "accuracy/g": 0.0,
    }


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed):
    p, y = draw(seed)
    metric = measured(p, y, per_class=True)
    figures, best = metric.compute(), p.argmax(1)
    assert figures["top1"] == pytest.approx(sklearn.metrics.accuracy_score(y, best), abs=1e-12)
    expected = sklearn.metrics.top_k_accuracy_score(y.numpy(), p.numpy(), k=5, labels=np.arange(7))
    assert figures["top5"] == pytest.approx(expected, abs=1e-12)
    assert figures["mean_class_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(y, best), abs=1e-12)
    assert metric.confusion().tolist() == sklearn.metrics.confusion_matrix(y, best, labels=range(7)).tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 19))
def test_laws(seed, cut):
    p, y = draw(seed, images=20)
    whole = measured(p, y, per_class=True).compute()
    assert all(0 <= value <= 1 for value in whole.values()) and whole["top1"] <= whole["top5"]
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    assert measured(p[order], y[order], per_class=True).compute() == pytest.approx(whole)
    first, second = measured(p[:cut], y[:cut], per_class=True), measured(p[cut:], y[cut:], per_class=True)
    assert first.merge(second).compute() == pytest.approx(whole)


def test_equal_probabilities_earn_no_luck():
    p = torch.full((7, 7), 1 / 7)
    figures = measured(p, torch.arange(7)).compute()
    assert figures["top1"] == pytest.approx(1 / 7) and figures["top5"] == pytest.approx(5 / 7)


def test_top5_is_left_out_where_it_would_be_one_by_construction():
    metric = ClassificationMetric(NAMES[:5])
    metric.update(*typed(torch.eye(5), torch.arange(5).flip(0), NAMES[:5]))
    assert metric.compute() == {"top1": 0.2}


def test_keeps_the_contract_of_a_metric():
    assert isinstance(ClassificationMetric(NAMES), Metric)


def test_confusion_is_a_copy():
    metric = measured(*draw(0))
    before = metric.compute()
    metric.confusion().zero_()
    assert metric.compute() == before


def test_refusals():
    metric = ClassificationMetric(NAMES)
    p, y = draw(0, images=2)
    predictions, targets = typed(p, y)
    with pytest.raises(DataError, match="no image was added"):
        metric.compute()
    with pytest.raises(DataError, match="2 predictions came with 1 targets"):
        metric.update(predictions, targets[:1])
    with pytest.raises(DataError, match="target has 3 classes but the metric has 7"):
        metric.update(predictions[:1], [ClassLabel(0, ("a", "b", "c"))])
    with pytest.raises(DataError, match="prediction calls class 1 'B' but the metric calls it 'b'"):
        metric.update([Classification(p[0], ("a", "B", *NAMES[2:]))], targets[:1])
    with pytest.raises(DataError, match="differ in classes"):
        metric.merge(ClassificationMetric(NAMES[:6]))
    with pytest.raises(DataError, match="differ in per_class: False and True"):
        metric.merge(ClassificationMetric(NAMES, per_class=True))
    with pytest.raises(DataError, match="got 0 classes"):
        ClassificationMetric(())
