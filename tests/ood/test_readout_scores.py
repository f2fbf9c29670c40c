"""ReAct, ViM and the subspace angle: worked values, and agreement with pytorch-ood 0.4.0."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from visgen.errors import ConfigError, DataError
from visgen.heads import HEADS
from visgen.nn.readout import Readout
from visgen.ood import build_score
from visgen.structures.features import Features

N, D, K = 120, 7, 3


def draw(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(N, D, generator=g).abs()
    return x, torch.randn(K, D, generator=g), torch.randn(K, generator=g)


def test_react_by_hand() -> None:
    """Inputs 0..9: the 0.9 quantile lies at 8.1; clipping 10 there leaves the logits (8.1, 0)."""
    readout = Readout(torch.tensor([[1.0], [0.0]]), torch.zeros(2))
    inputs = torch.arange(10.0)[:, None]
    score = build_score("react", 2, 1).fit(readout.logits(inputs), inputs, torch.arange(10) % 2, readout)
    assert float(score.limit) == pytest.approx(8.1)
    given = torch.tensor([[10.0], [2.0]])
    found = score(readout.logits(given), given)
    assert found.tolist() == pytest.approx([-math.log(math.exp(8.1) + 1), -math.log(math.exp(2.0) + 1)], rel=1e-5)


def test_vim_by_hand() -> None:
    """Training inputs (+-2, +-1): the first axis is principal, the residual is |y|, and alpha = mean largest logit."""
    inputs = torch.tensor([[2.0, 1], [-2, 1], [2, -1], [-2, -1]])
    readout = Readout(torch.tensor([[1.0, 0], [-1, 0]]), torch.zeros(2))
    logits = readout.logits(inputs)
    score = build_score("vim", 2, 2, rank=1).fit(logits, inputs, torch.tensor([0, 1, 0, 1]), readout)
    assert float(score.alpha) == pytest.approx(2.0)
    given = torch.tensor([[0.0, 3.0]])
    assert float(score(readout.logits(given), given)) == pytest.approx(2 * 3 - math.log(2), rel=1e-5)


def test_the_subspace_angle_by_hand() -> None:
    readout = Readout(torch.tensor([[1.0, 0, 0], [0, 1, 0]]), torch.zeros(2), "unit", True)
    given = torch.tensor([[-3.0, 0, 0], [1, 1, 0], [0, 0, 5], [0, 3, 4]])
    score = build_score("subspace_angle", 2, 3)
    score.fit(readout.logits(readout.inputs(given)), given, torch.tensor([0, 1, 0, 1]), readout)
    found = score(readout.logits(readout.inputs(given)), given)
    torch.testing.assert_close(found, torch.tensor([-1.0, -math.sqrt(0.5), 0.0, -0.6]))


@pytest.mark.parametrize("head", ["classification", "orthogonal"])
def test_a_head_is_its_readout(head: str) -> None:
    torch.manual_seed(0)
    options = {"scale": 3.0} if head == "orthogonal" else {}
    built = HEADS.build(head, channels={}, token_dim=D, outputs=K, **options).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter)
    vectors, *_ = draw(3)
    readout = built.readout()
    assert not readout.weight.requires_grad and not readout.bias.requires_grad
    torch.testing.assert_close(
        readout.logits(readout.inputs(vectors)), built(Features({}, vectors)), rtol=1e-4, atol=1e-4
    )


def test_agreement_with_pytorch_ood() -> None:
    detectors = pytest.importorskip("pytorch_ood.detector")
    x, weight, bias = draw(0)
    other, *_ = draw(1)
    readout, labels = Readout(weight, bias), torch.arange(N) % K
    logits, shown = readout.logits(x), readout.logits(other)

    ours = build_score("react", K, D, percentile=0.8).fit(logits, x, labels, readout)
    theirs = detectors.ReAct(lambda v: v, lambda v: v @ weight.T + bias, percentile=0.8).fit_feature_maps(x, labels)
    np.testing.assert_allclose(ours(shown, other), theirs.predict_feature_maps(other), rtol=1e-5, atol=1e-6)

    ours = build_score("vim", K, D, rank=3).fit(logits, x, labels, readout)
    theirs = detectors.ViM(None, 3, weight, bias).fit_features(x, labels)
    np.testing.assert_allclose(ours(shown, other), theirs.predict_features(other), rtol=1e-3, atol=1e-3)

    ours = build_score("knn", K, D, k=5, bank=N).fit(logits, x, labels)
    pytest.importorskip("sklearn")
    theirs = detectors.KNN(None, k=5).fit_features(x, labels)
    np.testing.assert_allclose(ours(shown, other), theirs.predict_features(other), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "theirs"), [("mahalanobis", "Mahalanobis"), ("relative_mahalanobis", "RMD")])
def test_whole_covariances_agree_with_pytorch_ood(name: str, theirs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shrinkage; the covariance there is N times as large, and its plain distance is halved."""
    detectors = pytest.importorskip("pytorch_ood.detector")
    from visgen.ood import distance_scores

    monkeypatch.setattr(distance_scores, "shrunk_covariance", lambda x: x.T @ x / len(x))
    x, *_ = draw(0)
    other, *_ = draw(1)
    labels, logits = torch.arange(N) % K, torch.zeros(N, K)
    ours = build_score(name, K, D, normalise=False, rank=D).fit(logits, x, labels)(logits, other)
    factor = N * (2 if name == "mahalanobis" else 1)
    wanted = factor * getattr(detectors, theirs)(None).fit_features(x, labels).predict_features(other)
    np.testing.assert_allclose(ours, wanted, rtol=2e-3, atol=2e-3)


def test_refusals() -> None:
    x, weight, bias = draw(0)
    with pytest.raises(ConfigError, match="prepare of a readout is 'layernorm'; did you mean 'layer_norm'"):
        Readout(weight, bias, "layernorm")
    with pytest.raises(ConfigError, match=r"weight \(3, 7\) and bias \(2,\)"):
        Readout(weight, bias[:2])
    with pytest.raises(ConfigError, match="ReAct has percentile 90"):
        build_score("react", K, D, percentile=90)
    flat = torch.cat([x[:, :2], torch.zeros(N, D - 2)], 1)
    readout = Readout(weight, torch.zeros(K))
    with pytest.raises(DataError, match="ViM has no residual"):
        build_score("vim", K, D, rank=6).fit(readout.logits(torch.zeros(N, D)), 0 * flat, torch.arange(N) % K, readout)
