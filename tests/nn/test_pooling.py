"""The generalised mean lies between mean and maximum, and its exponent is learned."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError
from visgen.nn.pooling import GeM, generalised_mean


def test_a_value_by_hand() -> None:
    # the cube root of (1 + 8 + 0 + 27) / 4
    values = torch.tensor([1.0, 2, 0, 3]).view(1, 1, 2, 2)
    assert float(generalised_mean(values, 3.0)) == pytest.approx(2.0801, abs=1e-4)
    assert GeM()(values).item() == pytest.approx(9 ** (1 / 3), rel=1e-6)


def test_one_is_the_mean_and_a_large_exponent_the_maximum() -> None:
    values = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)) + 0.01
    torch.testing.assert_close(generalised_mean(values, 1.0), values.mean((2, 3)))
    assert torch.allclose(generalised_mean(values.double(), 400.0), values.double().amax((2, 3)), atol=1e-2)
    between = generalised_mean(values, 3.0)
    assert (between > values.mean((2, 3))).all() and (between < values.amax((2, 3))).all()


def test_a_factor_comes_out_in_front() -> None:
    values = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(1)) + 0.1
    torch.testing.assert_close(generalised_mean(3 * values, 3.0), 3 * generalised_mean(values, 3.0))


def test_the_exponent_gets_a_gradient_and_zeros_stay_finite() -> None:
    pool = GeM()
    pool(torch.zeros(1, 2, 3, 3)).sum().backward()
    assert pool.p.grad is not None and pool.p.grad.isfinite()
    pool = GeM()
    pool(torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert float(pool.p.grad) > 0  # type: ignore[arg-type]  # a larger exponent gives a larger mean


def test_an_exponent_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ConfigError, match="GeM has p 0"):
        GeM(0)
