import pytest
import torch

from visgen.errors import DataError
from visgen.metrics import auroc, mean_auroc, paired_auroc


def rng():
    return torch.Generator().manual_seed(0)


def test_the_mean_over_outsides_and_trainings_by_hand():
    inside, outside = torch.tensor([-1.0, -2, -3, -4]), torch.tensor([0, -1.5, -2.5, -5])
    assert auroc(inside, outside) == 9 / 16
    above = torch.full((4,), 9.0)
    assert mean_auroc(inside, {"near": outside, "far": above}) == (9 / 16 + 1) / 2
    two = torch.stack([inside, outside])
    assert mean_auroc(two, {"near": torch.stack([outside, inside])}) == 0.5  # 9/16 and 7/16


def test_a_way_beside_itself_differs_by_nothing_and_a_better_one_by_its_lead():
    g = rng()
    inside, outside = torch.randn(80, generator=g), torch.randn(60, generator=g) + 1
    same = paired_auroc((inside, {"far": outside}), (inside, {"far": outside}), rng(), 50)
    assert same == {"difference": 0.0, "low": 0.0, "high": 0.0, "above_zero": 0.0}
    better = paired_auroc((inside, {"far": outside}), (inside, {"far": outside + 1}), rng(), 200)
    assert better["low"] > 0 and better["above_zero"] == 1.0
    assert better["low"] < better["difference"] < better["high"]


def test_the_interval_is_that_of_a_loop():
    g = rng()
    first = torch.randn(30, generator=g), {"a": torch.randn(20, generator=g)}
    second = torch.randn(30, generator=g), {"a": torch.randn(20, generator=g)}
    found, g, values = paired_auroc(first, second, rng(), 100), rng(), []
    for _ in range(100):
        i, j = torch.randint(30, (30,), generator=g), torch.randint(20, (20,), generator=g)
        one, two = ((w[1]["a"][j][None] > w[0][i][:, None]).double().mean() for w in (first, second))
        values.append(float(two - one))
    assert found["low"] == pytest.approx(torch.tensor(values, dtype=torch.float64).quantile(0.025).item(), abs=1e-9)
    assert found["high"] == pytest.approx(torch.tensor(values, dtype=torch.float64).quantile(0.975).item(), abs=1e-9)


def test_refusals():
    x, y = torch.zeros(3), torch.zeros(2)
    with pytest.raises(DataError, match="ask both about the same ones"):
        paired_auroc((x, {"far": y}), (x, {"near": y}), rng())
    with pytest.raises(DataError, match="level is 1"):
        paired_auroc((x, {"far": y}), (x, {"far": y}), rng(), level=1)
