"""The linear discriminant beside scikit-learn's, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from visgen.errors import ConfigError, DataError
from visgen.nn.discriminant import linear_discriminant


def groups(count: int, dim: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (count - classes,), generator=generator)])
    mix = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    centres = 2 * torch.randn(classes, dim, generator=generator, dtype=torch.float64)
    return centres[labels] + torch.randn(count, dim, generator=generator, dtype=torch.float64) @ mix, labels


@pytest.mark.parametrize("shrink", [0.0, 0.1, 0.4, 1.0])
def test_the_posterior_is_that_of_scikit_learn(shrink: float) -> None:
    vectors, labels = groups(300, 12, 4)
    oracle = LinearDiscriminantAnalysis("lsqr", shrinkage=shrink).fit(vectors.numpy(), labels.numpy())
    weight, bias = linear_discriminant(vectors, labels, 4, shrink)
    priors = torch.tensor(oracle.priors_).log()  # scikit-learn adds them, ours are equal
    others = groups(50, 12, 4, seed=1)[0]
    ours = (others @ weight.T + bias + priors).softmax(1)
    assert torch.allclose(ours, torch.tensor(oracle.predict_proba(others.numpy())), atol=1e-9)
    assert float(weight.sum(0).abs().max()) < 1e-9 and float(bias.sum().abs()) < 1e-9


def test_fewer_images_than_dimensions_need_shrinking() -> None:
    vectors, labels = groups(20, 40, 3)
    with pytest.raises(DataError, match="has no inverse at shrink 0"):
        linear_discriminant(vectors, labels, 3, 0.0)
    weight, bias = linear_discriminant(vectors.float(), labels, 3, 0.5)
    assert weight.dtype == torch.float32
    assert torch.equal((vectors.float() @ weight.T + bias).argmax(1), labels)


def test_bad_input_is_named() -> None:
    vectors, labels = groups(20, 4, 3)
    with pytest.raises(ConfigError, match=r"shrink of the discriminant is 1\.5"):
        linear_discriminant(vectors, labels, 3, 1.5)
    with pytest.raises(DataError, match=r"vectors \(20, 4\) and labels \(19,\)"):
        linear_discriminant(vectors, labels[1:], 3)
    with pytest.raises(DataError, match=r"none of classes \[3\]"):
        linear_discriminant(vectors, labels, 4)
    with pytest.raises(DataError, match="labels up to 2"):
        linear_discriminant(vectors, labels, 2)
