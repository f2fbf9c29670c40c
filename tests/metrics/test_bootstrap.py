"""The paired bootstrap against a naive loop, and the cases in which its answer is known."""

import math

import pytest
import torch

from visgen.errors import DataError
from visgen.metrics import paired_bootstrap
from visgen.metrics.bootstrap import bootstrap_over_best, mean_of_groups

NAN = float("nan")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_mean_of_groups_by_hand():
    values = torch.tensor([[1.0, NAN, NAN], [0.0, 0.5, NAN], [0.5, 1.0, NAN]])
    assert mean_of_groups(values).item() == pytest.approx((0.5 + 0.75) / 2)  # no image counts for the third group


def naive(first, second, draws, seed):
    """The same draws in plain Python."""
    g, found = generator(seed), []
    seeds, count, groups = first.shape
    for _ in range(draws):
        images = torch.randint(count, (count,), generator=g).tolist()
        figures = []
        for values in (first, second):
            picked = torch.randint(len(values), (len(values),), generator=g).tolist()
            per_group = []
            for group in range(groups):
                rows = [sum(float(values[s, i, group]) for s in picked) / len(picked) for i in images]
                rows = [r for r in rows if not math.isnan(r)]
                if rows:
                    per_group.append(sum(rows) / len(rows))
            figures.append(sum(per_group) / len(per_group))
        found.append(figures[1] - figures[0])
    return sorted(found)


def test_it_equals_a_naive_loop():
    torch.manual_seed(0)
    first, second = torch.rand(3, 12, 4), torch.rand(3, 12, 4) + 0.1
    missing = torch.rand(12, 4) < 0.5
    first[:, missing], second[:, missing] = NAN, NAN
    found = paired_bootstrap(first, second, generator(7), draws=41)
    wanted = naive(first, second, 41, 7)
    assert found["low"] == pytest.approx(wanted[1]) and found["high"] == pytest.approx(wanted[39])
    assert found["above_zero"] == pytest.approx(sum(v > 0 for v in wanted) / 41)
    difference = mean_of_groups(second.mean(0)) - mean_of_groups(first.mean(0))
    assert found["difference"] == pytest.approx(difference.item(), abs=1e-6)


def test_pairs_make_a_constant_gain_certain():
    first = torch.rand(1, 30, 1, generator=generator())
    found = paired_bootstrap(first, first + 0.25, generator(), draws=50)
    assert found == pytest.approx({"difference": 0.25, "low": 0.25, "high": 0.25, "above_zero": 1.0}, abs=1e-6)


def test_the_interval_of_a_plain_mean_is_the_normal_one():
    torch.manual_seed(0)
    gain = torch.randn(1, 400, 1) * 0.5 + 0.1
    found = paired_bootstrap(torch.zeros(1, 400, 1), gain, generator(), draws=2000)
    error = gain.std().item() / 20
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert found["low"] < found["difference"] < found["high"]


def test_models_may_differ_in_seeds_and_equal_seeds_repeat():
    first, second = torch.rand(2, 9, 2), torch.rand(5, 9, 2)
    assert paired_bootstrap(first, second, generator(1), 20) == paired_bootstrap(first, second, generator(1), 20)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (torch.rand(3, 4), torch.rand(3, 4), {}, r"\(3, 4\) and \(3, 4\); both must be \(seeds, images, groups\)"),
        (torch.rand(1, 3, 4), torch.rand(1, 5, 4), {}, "over the same images and groups"),
        (torch.rand(0, 3, 4), torch.rand(1, 3, 4), {}, "both must be"),
        (torch.full((1, 3, 1), NAN), torch.rand(1, 3, 1), {}, "count for different images"),
        (torch.rand(1, 3, 1), torch.rand(1, 3, 1), {"level": 95}, "level is 95 and draws is 2000"),
        (torch.rand(1, 3, 1), torch.rand(1, 3, 1), {"draws": 0}, "draws is 0; use .* 1 draw or more"),
    ],
)
def test_refusals(first, second, options, message):
    with pytest.raises(DataError, match=message):
        paired_bootstrap(first, second, generator(), **options)


def test_a_draw_in_which_no_image_counts_says_nothing():
    first = torch.full((1, 6, 1), NAN)
    first[0, :2, 0] = torch.tensor([0.3, 0.5])
    found = paired_bootstrap(first, first + 0.1, generator(), 300)  # about one draw in twelve holds neither image
    assert found == pytest.approx({"difference": 0.1, "low": 0.1, "high": 0.1, "above_zero": 1.0}, abs=1e-6)
    with pytest.raises(DataError, match="no image counts for any group"):
        paired_bootstrap(first[:, 2:], first[:, 2:], generator(), 10)


def test_over_the_best_of_several():
    g = generator(3)
    others = [torch.rand(2, 40, 1, generator=g) for _ in range(3)]
    model = torch.rand(3, 40, 1, generator=g) + 0.05
    found = bootstrap_over_best(others, model, generator(1), draws=300)
    best = max(float(o.double().mean()) for o in others)
    assert found["difference"] == pytest.approx(float(model.double().mean()) - best)
    # the best of several is at least any one of them, in every draw
    alone = bootstrap_over_best(others[:1], model, generator(1), draws=300)
    assert found["high"] <= alone["high"] + 0.05 and found["difference"] <= alone["difference"] + 1e-12
    assert bootstrap_over_best(others[:1], model, generator(5), draws=50) == paired_bootstrap(
        others[0], model, generator(5), draws=50
    )
    # equal models: the best of two copies of itself is no better and no worse
    same = bootstrap_over_best([model[:1], model[:1]], model[:1], generator(1), draws=100)
    assert same["difference"] == 0 and same["low"] == same["high"] == 0
    with pytest.raises(DataError, match="0 others"):
        bootstrap_over_best([], model, generator())
