"""Distances of features: hand-worked values, laws, and agreement with torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visgen.errors import DataError
from visgen.metrics.generative import (
    frechet_distance,
    gaussian_distance,
    intra_class_frechet,
    jackknife,
    kernel_distance,
)


def draw(n: int, d: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return shift + scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_the_distance_of_two_normal_laws_worked_by_hand() -> None:
    one = torch.ones(1, 1)
    # N(0, 1) and N(3, 4): 9 + 1 + 4 - 2 * 2 = 10
    assert gaussian_distance(torch.zeros(1), one, torch.full((1,), 3.0), 4 * one) == pytest.approx(10)
    # diagonal covariances: sum of (sqrt a - sqrt b)^2
    a, b = torch.diag(torch.tensor([1.0, 9.0])), torch.diag(torch.tensor([4.0, 0.0]))
    assert gaussian_distance(torch.zeros(2), a, torch.zeros(2), b) == pytest.approx(1 + 9)


def test_laws_of_the_frechet_distance() -> None:
    x, y = draw(80, 6, 0), draw(70, 6, 1, 0.5, 1.5)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x))
    assert frechet_distance(3 * x, 3 * y) == pytest.approx(9 * frechet_distance(x, y))
    assert frechet_distance(x, x + 2) == pytest.approx(6 * 4)
    few = draw(4, 6, 2)  # singular covariance
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6) and frechet_distance(x, few) > 0


def test_the_kernel_distance_worked_by_hand() -> None:
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [2.0]])
    # within x: k(0, 1) = 1; within y: k(2, 2) = 125; across: (1 + 27 + 1 + 27) / 4 = 14
    assert kernel_distance(x, y) == pytest.approx(1 + 125 - 28)


def test_the_kernel_distance_is_unbiased_where_the_frechet_distance_is_not() -> None:
    pairs = [(draw(40, 8, 2 * i), draw(40, 8, 2 * i + 1)) for i in range(200)]
    kernel = torch.tensor([kernel_distance(*pair) for pair in pairs])
    assert abs(float(kernel.mean())) < 3 * float(kernel.std()) / 200**0.5
    frechet = torch.tensor([frechet_distance(*pair) for pair in pairs[:30]])
    assert float(frechet.mean()) > 5 * float(frechet.std()) / 30**0.5


def test_agreement_with_torch_fidelity() -> None:
    """torch-fidelity 0.4.0 on the same features, 1e-6 relative."""
    pytest.importorskip("torch_fidelity", reason="pip install 'visgen[eval]'")
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kernel_mmd

    x, y = draw(150, 12, 3).double(), draw(130, 12, 4, 0.3, 1.2).double()
    statistics = [fid_features_to_statistics(side) for side in (x, y)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)
    assert frechet_distance(x, y) == pytest.approx(next(iter(theirs.values())), rel=1e-6)
    square = x[:130]  # their estimator takes equal numbers
    kernel = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    found = kernel_mmd(square.numpy(), y.numpy(), **kernel, kid_kernel_poly_coef0=1.0)
    assert kernel_distance(square, y) == pytest.approx(float(found), rel=1e-6)


def test_the_jackknife_finds_the_standard_error_of_a_mean() -> None:
    x, y = draw(400, 1, 5), draw(400, 1, 6, scale=2.0)
    found = jackknife(lambda a, b: float(a.mean() - b.mean()), x, y, blocks=200)
    expected = float((x.var() / 400 + y.var() / 400).sqrt())
    assert found["se"] == pytest.approx(expected, rel=0.15)
    assert found["low"] < found["value"] < found["high"]
    assert found["high"] - found["value"] == pytest.approx(1.96 * found["se"], rel=1e-3)


def test_class_by_class_is_the_mean_of_the_classes() -> None:
    x, y = draw(120, 3, 7), draw(120, 3, 8, 1.0)
    labels = torch.arange(120) % 2
    found = intra_class_frechet(x, labels, y, labels)
    each = [frechet_distance(x[labels == k], y[labels == k]) for k in (0, 1)]
    assert [found["0"], found["1"]] == pytest.approx(each) and found["mean"] == pytest.approx(np.mean(each))
    with pytest.raises(DataError, match="class 1 has 60 real and 0 generated"):
        intra_class_frechet(x, labels, y, torch.zeros(120, dtype=torch.int64))


def test_bad_features_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(5, 3\) and \(5, 2\)"):
        frechet_distance(torch.zeros(5, 3), torch.zeros(5, 2))
    with pytest.raises(DataError, match="not finite"):
        kernel_distance(torch.full((3, 2), torch.nan), torch.zeros(3, 2))
    with pytest.raises(DataError, match="jackknife got 10 and 10 images, 10 blocks"):
        jackknife(frechet_distance, torch.zeros(10, 2), torch.zeros(10, 2))
