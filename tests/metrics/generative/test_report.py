"""The feature network and the whole report: sizes alike on both sides, and the facts that a record needs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import DataError
from visgen.metrics.generative import FeatureNetwork, generative_figures


def images(n: int, seed: int, low: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.randint(low, 256, (n, 3, 4, 4), generator=rng).float()
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear").to(torch.uint8)


def look(x: Tensor) -> tuple[Tensor, Tensor]:
    cells = torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
    return cells, 20 * cells[:, :3]


NETWORK = FeatureNetwork("cells", look, "0" * 64, 16)


def test_equal_sets_are_near_and_degraded_ones_ever_farther() -> None:
    real, other = NETWORK.see(images(120, 0)), NETWORK.see(images(120, 1))
    same = generative_figures(NETWORK, real, other, blocks=5)["metrics"]
    assert same["KD-cells"]["low"] < 0 < same["KD-cells"]["high"]
    distances = []
    for low in (0, 60, 120):
        figures = generative_figures(NETWORK, real, NETWORK.see(images(120, 1, low)), blocks=5)["metrics"]
        distances.append((figures["FD-cells"]["value"], figures["KD-cells"]["value"]))
    assert distances == sorted(distances) and distances[2][1] > 10 * abs(distances[0][1])


def test_a_report_holds_every_figure_and_its_protocol() -> None:
    real, fake, train = (NETWORK.see(images(120, seed)) for seed in (0, 1, 2))
    labels = torch.arange(120) % 2
    found = generative_figures(NETWORK, real, fake, train=train, labels=(labels, labels), blocks=4)
    assert set(found["metrics"]) == {
        *("FD-cells", "KD-cells", "precision", "recall", "density", "coverage", "IS", "class-FD-cells", "copies"),
    }
    assert 1 <= found["metrics"]["IS"] <= 3
    protocol = found["protocol"]
    assert protocol["sha256"] == "0" * 64 and protocol["size"] == 16 and protocol["images"] == 120
    assert protocol["filter"] == "bicubic, antialias"
    with pytest.raises(DataError, match="120 real and 60 generated"):
        generative_figures(NETWORK, real, NETWORK.see(images(60, 0)))


def test_batches_do_not_matter_and_other_sizes_are_resized() -> None:
    x = images(10, 3)
    torch.testing.assert_close(NETWORK.see(x, 3).features, NETWORK.see([x[:4], x[4:]]).features)
    small = FeatureNetwork("cells", look, "0" * 64, 8, "bilinear")
    assert small.resize(x).shape == (10, 3, 8, 8)
    torch.testing.assert_close(small.see(x).features, NETWORK.see(x).features, atol=0.02, rtol=0.02)
    assert torch.equal(NETWORK.resize(x), x.float() / 255)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match="give uint8"):
        NETWORK.see(torch.rand(2, 3, 16, 16))
    with pytest.raises(DataError, match="filter 'nearest'"):
        FeatureNetwork("x", look, "", 16, "nearest")
    with pytest.raises(DataError, match="0 images"):
        NETWORK.see([])
