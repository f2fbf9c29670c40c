import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.metrics import Metric, OODMetric, ood_figures
from visgen.structures import OODLabel, OODVerdict

scores = st.lists(st.integers(-6, 6).map(lambda v: v / 2), min_size=1, max_size=40)


def verdicts(*values):
    return [OODVerdict(value) for value in values]


def labels(*values):
    return [OODLabel(value) for value in values]


def test_the_worked_value():
    """Pairs in which the out image scores higher: 4 + 3 + 2 + 0 = 9 of 16."""
    inside, outside = torch.tensor([-1.0, -2.0, -3.0, -4.0]), torch.tensor([0.0, -1.5, -2.5, -5.0])
    found = ood_figures(inside, outside)
    assert found["AUROC"] == pytest.approx(9 / 16)
    assert found["detection_error"] == pytest.approx(3 / 8)  # above -2: one of four in, and two of four out are not


def test_perfect_and_worthless_scores():
    low, high = torch.linspace(0, 1, 30), torch.linspace(2, 3, 20)
    assert ood_figures(low, high) == {
        "AUROC": 1.0, "FPR95": 0.0, "AUPR_in": 1.0, "AUPR_out": 1.0, "detection_error": 0.0
    }  # fmt: skip
    same = ood_figures(torch.zeros(30), torch.zeros(20))
    assert same["AUROC"] == 0.5 and same["detection_error"] == 0.5 and same["FPR95"] == 1.0
    assert (same["AUPR_in"], same["AUPR_out"]) == (pytest.approx(30 / 50), pytest.approx(20 / 50))


@settings(max_examples=60, deadline=None)
@given(scores, scores)
def test_figures_equal_scikit_learn_and_loops(inside, outside):
    from sklearn.metrics import average_precision_score, roc_auc_score

    figures = ood_figures(torch.tensor(inside), torch.tensor(outside))
    truth = [0] * len(inside) + [1] * len(outside)
    values = np.array(inside + outside)
    assert figures["AUROC"] == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    assert figures["AUPR_out"] == pytest.approx(average_precision_score(truth, values), abs=1e-12)
    flipped = [1 - t for t in truth]
    assert figures["AUPR_in"] == pytest.approx(average_precision_score(flipped, -values), abs=1e-12)
    enough = [t for t in set(outside) if sum(o >= t for o in outside) >= 0.95 * len(outside)]
    errors = [sum(i > t for i in inside) / len(inside) + sum(o <= t for o in outside) / len(outside) for t in values]
    assert figures["detection_error"] == pytest.approx(min(1, *errors) / 2, abs=1e-6)
    assert figures["FPR95"] == pytest.approx(sum(i >= max(enough) for i in inside) / len(inside))


def test_the_metric_collects_in_any_order_and_reports_the_threshold():
    metric, rest = OODMetric(threshold=1.5), OODMetric(threshold=1.5)
    metric.update(verdicts(1.0, 3.0), labels(False, True))
    rest.update(verdicts(2.0, 1.2, 0.5), labels(False, True, False))
    figures = metric.merge(rest).compute()
    assert isinstance(metric, Metric)
    assert figures["id_kept"] == pytest.approx(2 / 3) and figures["ood_found"] == pytest.approx(1 / 2)
    assert figures["AUROC"] == ood_figures(torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 1.2]))["AUROC"]


def test_refusals():
    with pytest.raises(DataError, match="out-distribution scores have shape"):
        ood_figures(torch.zeros(3), torch.zeros(0))
    with pytest.raises(DataError, match="finite"):
        ood_figures(torch.tensor([float("nan")]), torch.zeros(1))
    with pytest.raises(DataError, match="2 verdicts came with 1 targets"):
        OODMetric().update(verdicts(1.0, 2.0), labels(True))
