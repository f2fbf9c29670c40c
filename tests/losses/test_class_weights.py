"""class_weights: null, auto and a mapping mean the same for every task."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.errors import ConfigError, UnknownName
from visgen.losses import class_weight_vector


def test_null_gives_no_weights():
    assert class_weight_vector(None, ("a", "b"), None) is None


def test_mapping_sets_the_named_class_and_leaves_the_rest_at_one():
    weights = class_weight_vector(None, ("sky", "road", "car"), {"car": 3, "sky": 0.5})
    assert weights.dtype == torch.float32
    assert weights.tolist() == [0.5, 1.0, 3.0]


def test_auto_hand_worked():
    # counts 1, 4, 16: median 4, raw sqrt(4/n) = 2, 1, 0.5; expected raw weight (2 + 4 + 8) / 21 = 2/3
    weights = class_weight_vector([1, 4, 16], ("a", "b", "c"), "auto")
    assert torch.allclose(weights, torch.tensor([3.0, 1.5, 0.75]))


def test_auto_gives_an_unseen_class_one_and_limits_a_rare_one():
    weights = class_weight_vector([0, 1, 10**6, 10**6], ("never", "rare", "a", "b"), "auto")
    assert weights[0] == 1.0
    assert math.isclose(float(weights[1] / weights[2]), 10.0, rel_tol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any))
def test_auto_keeps_the_expected_weight_at_one(counts):
    weights = class_weight_vector(counts, [str(i) for i in range(len(counts))], "auto").double()
    n = torch.tensor(counts, dtype=torch.float64)
    assert math.isclose(float((weights * n).sum() / n.sum()), 1.0, rel_tol=1e-5)
    order = torch.argsort(n[n > 0])
    assert bool((torch.diff(weights[n > 0][order]) <= 1e-6).all())  # rarer never weighs less


@pytest.mark.parametrize(
    ("counts", "spec", "error", "message"),
    [
        (None, "atuo", ConfigError, "class_weights is 'atuo'; use null, auto"),
        (None, "auto", ConfigError, "no class counts were given"),
        ([1, 2, 3], "auto", ConfigError, r"shape \(3,\) but there are 2 classes"),
        ([0, 0], "auto", ConfigError, "not all 0"),
        ([1, -1], "auto", ConfigError, "-1.0"),
        (None, {"rod": 2.0}, UnknownName, "names 'rod'.*did you mean 'road'"),
        (None, {"road": -2.0}, ConfigError, "'road' the weight -2.0"),
        (None, {"road": float("nan")}, ConfigError, "'road' the weight nan"),
        (None, {"road": 0, "car": 0}, ConfigError, "0 for every class"),
    ],
)
def test_refusals(counts, spec, error, message):
    with pytest.raises(error, match=message):
        class_weight_vector(counts, ("road", "car"), spec)
