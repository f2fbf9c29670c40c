"""Depth errors against hand-worked cases, naive loops, numpy least squares and scikit-learn."""

import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.metrics import ALIGNMENTS, DepthMetric, Metric, align_depth
from visgen.structures import DepthMap


def draw(seed, images=4, missing=0.4):
    rng = np.random.default_rng(seed)
    predictions, targets = [], []
    for _ in range(images):
        size = tuple(rng.integers(4, 9, 2))
        t = rng.uniform(0.5, 9.0, size)
        p = t * np.exp(0.3 * rng.standard_normal(size))
        t[rng.random(size) < missing] = 0
        predictions.append(DepthMap(torch.from_numpy(p).float()))
        targets.append(DepthMap(torch.from_numpy(t).float()))
    return predictions, targets


def measured(predictions, targets, **options):
    metric = DepthMetric(**options)
    metric.update(predictions, targets)
    return metric


def naive(predictions, targets, aggregate, lowest=1e-3, highest=math.inf):
    rows = []
    for p, t in zip(predictions, targets, strict=True):
        image = []
        for i, j in np.ndindex(*t.metres.shape):
            true = float(t.metres[i, j])
            if lowest <= true <= highest:
                guess = min(max(float(p.metres[i, j]), lowest), highest)
                image.append((abs(guess - true) / true, (guess - true) ** 2, max(guess / true, true / guess) < 1.25))
        if image:
            rows.append(image)
    if aggregate == "pixels":
        rows = [[pixel for image in rows for pixel in image]]
    means = [np.mean(np.array(image, dtype=float), axis=0) for image in rows]
    relative, rmse, within = np.mean([(m[0], math.sqrt(m[1]), m[2]) for m in means], axis=0)
    return {"AbsRel": relative, "RMSE": rmse, "delta1": within}


def test_hand_worked():
    target = DepthMap(torch.tensor([[1.0, 2.0], [4.0, 0.0]]))
    prediction = DepthMap(torch.tensor([[1.2, 2.0], [6.0, 9.0]]))
    other = DepthMap(torch.tensor([[2.0]])), DepthMap(torch.tensor([[4.0]]))
    metric = measured([prediction, other[0]], [target, other[1]])
    first = ((0.2 + 0 + 0.5) / 3, math.sqrt((0.04 + 0 + 4) / 3), 2 / 3)
    second = (0.5, 2.0, 0.0)
    assert metric.compute() == pytest.approx(
        {"AbsRel": (first[0] + 0.5) / 2, "RMSE": (first[1] + 2) / 2, "delta1": (first[2] + second[2]) / 2}, rel=1e-6
    )
    assert metric.compute("pixels") == pytest.approx(
        {"AbsRel": (0.2 + 0.5 + 0.5) / 4, "RMSE": math.sqrt((0.04 + 4 + 4) / 4), "delta1": 2 / 4}, rel=1e-6
    )
    assert metric.protocol() == {
        "align": "none",
        "min_depth": 1e-3,
        "max_depth": None,
        "aggregate": "images",
        "images": 2,
        "pixels": 4,
        "skipped": 0,
    }


@pytest.mark.parametrize("aggregate", ["images", "pixels"])
@pytest.mark.parametrize("limits", [{}, {"min_depth": 1.0, "max_depth": 6.0}])
def test_agrees_with_a_naive_loop(aggregate, limits):
    predictions, targets = draw(3)
    targets[2] = DepthMap(torch.zeros_like(targets[2].metres))  # nothing measured
    metric = measured(predictions, targets, aggregate=aggregate, **limits)
    expected = naive(predictions, targets, aggregate, limits.get("min_depth", 1e-3), limits.get("max_depth", math.inf))
    assert metric.compute() == pytest.approx(expected, rel=1e-6)
    assert metric.skipped == 1 and metric.images == 3


def test_agrees_with_scikit_learn_on_pooled_pixels():
    predictions, targets = draw(4)
    t = torch.cat([x.metres[x.valid] for x in targets]).double()
    p = torch.cat([x.metres[y.valid] for x, y in zip(predictions, targets, strict=True)]).double()
    figures = measured(predictions, targets).compute("pixels")
    assert figures["AbsRel"] == pytest.approx(sklearn.metrics.mean_absolute_percentage_error(t, p))
    assert figures["RMSE"] == pytest.approx(sklearn.metrics.root_mean_squared_error(t, p))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 4), st.sampled_from(ALIGNMENTS))
def test_laws(seed, cut, align):
    options = {"align": align, "max_depth": 20.0}
    predictions, targets = draw(seed, missing=0.2)
    whole = measured(predictions, targets, **options)
    figures = whole.compute()
    assert 0 <= figures["delta1"] <= 1 and figures["AbsRel"] >= 0 and figures["RMSE"] >= 0
    assert measured(predictions[::-1], targets[::-1], **options).compute() == pytest.approx(figures)
    merged = measured(predictions[:cut], targets[:cut], **options).merge(
        measured(predictions[cut:], targets[cut:], **options)
    )
    assert merged.compute() == pytest.approx(figures)
    assert merged.compute("pixels") == pytest.approx(whole.compute("pixels"))
    elsewhere = [DepthMap(torch.where(t.valid, p.metres, 7.0)) for p, t in zip(predictions, targets, strict=True)]
    assert measured(elsewhere, targets, **options).compute() == pytest.approx(figures)  # unmeasured pixels do not count
    perfect = measured([DepthMap(t.metres.clamp_min(0.5)) for t in targets], targets, **options).compute()
    assert perfect == pytest.approx({"AbsRel": 0.0, "RMSE": 0.0, "delta1": 1.0}, abs=1e-5)


def remade(targets, change, kind="metric_m"):
    return [DepthMap(torch.where(t.valid, change(t.metres.clamp_min(0.1)), 0.0), kind) for t in targets]


@pytest.mark.parametrize(
    ("align", "kind", "change"),
    [
        ("scale", "metric_m", lambda m: 3.7 * m),
        ("scale", "relative", lambda m: 0.01 * m),
        ("scale_shift", "relative", lambda m: 0.2 * m + 5.0),
        ("disparity", "inverse", lambda m: 4.0 / m + 2.0),
        ("disparity", "metric_m", lambda m: 1.0 / (0.3 / m + 0.05)),
    ],
)
def test_alignment_undoes_exactly_what_it_names(align, kind, change):
    _, targets = draw(5)
    aligned = measured(remade(targets, change, kind), targets, align=align, max_depth=20.0).compute()
    assert aligned == pytest.approx({"AbsRel": 0.0, "RMSE": 0.0, "delta1": 1.0}, abs=1e-4)
    metres = measured(remade(targets, change), targets, max_depth=20.0).compute()
    assert metres["AbsRel"] > 0.05  # without alignment it is an error


def test_the_scale_of_even_numbers_is_that_of_numpy():
    prediction, target = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0])
    scale = np.median(target.numpy()) / np.median(prediction.numpy())
    assert align_depth(prediction, target, "scale").tolist() == pytest.approx([scale * 1.0, scale * 3.0])


def test_least_squares_agrees_with_numpy():
    rng = np.random.default_rng(0)
    t = rng.uniform(1, 9, 200)
    p = 0.3 * t + rng.standard_normal(200) + 4
    design = np.stack([p, np.ones_like(p)], 1)
    expected = design @ np.linalg.lstsq(design, t, rcond=None)[0]
    ours = align_depth(torch.from_numpy(p), torch.from_numpy(t), "scale_shift")
    assert ours.numpy() == pytest.approx(expected.clip(1e-3))
    design = np.stack([1 / p.clip(1e-3), np.ones_like(p)], 1)
    disparity = design @ np.linalg.lstsq(design, 1 / t, rcond=None)[0]
    ours = align_depth(torch.from_numpy(p), torch.from_numpy(t), "disparity", max_depth=10.0)
    assert ours.numpy() == pytest.approx(1 / disparity.clip(0.1))


@pytest.mark.parametrize("align", ["scale", "scale_shift", "disparity"])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_map_gives_numbers(align, value):
    _, targets = draw(6)
    flat = [DepthMap(torch.full_like(t.metres, value)) for t in targets]
    figures = measured(flat, targets, align=align, max_depth=20.0).compute()
    assert all(math.isfinite(v) for v in figures.values())
    if align == "scale_shift":  # the best constant under squares is the mean
        mean = [DepthMap(torch.full_like(t.metres, float(t.metres[t.valid].mean()))) for t in targets]
        assert figures == pytest.approx(measured(mean, targets).compute(), rel=1e-5)


def test_leaving_pixels_out_is_an_error_and_not_a_pass():
    target = DepthMap(torch.full((2, 2), 2.0))
    half = DepthMap(torch.tensor([[2.0, 2.0], [0.0, 0.0]]))
    figures = measured([half], [target]).compute()
    assert figures["AbsRel"] == pytest.approx(0.5, abs=1e-3) and figures["delta1"] == 0.5


def test_keeps_the_contract_of_a_metric():
    assert isinstance(DepthMetric(), Metric)


def test_refusals():
    metric = DepthMetric()
    small, large = DepthMap(torch.ones(2, 3)), DepthMap(torch.ones(4, 6))
    with pytest.raises(DataError, match=r"predicted depth map is \(2, 3\) and its target \(4, 6\)"):
        metric.update([small], [large])
    with pytest.raises(DataError, match="0 predictions came with 1 targets"):
        metric.update([], [large])
    with pytest.raises(DataError, match="no measured pixel was added"):
        metric.compute()
    metric.update([small], [DepthMap(torch.zeros(2, 3))])
    with pytest.raises(DataError, match=r"no measured pixel.*\(1 images without any\)"):
        metric.compute()
    with pytest.raises(DataError, match="kind 'relative' but align is 'none'"):
        metric.update([DepthMap(torch.ones(2, 3), "relative")], [small])
    with pytest.raises(DataError, match="kind 'inverse' but align is 'scale'"):
        DepthMetric(align="scale").update([DepthMap(torch.ones(2, 3), "inverse")], [small])
    with pytest.raises(DataError, match="target is of kind 'relative'"):
        metric.update([small], [DepthMap(torch.ones(2, 3), "relative")])
    with pytest.raises(DataError, match="align is 'median'; use one of none, scale"):
        DepthMetric(align="median")
    with pytest.raises(DataError, match="align is 'median'"):
        align_depth(torch.ones(2), torch.ones(2), "median")
    with pytest.raises(DataError, match="max_depth is None"):
        DepthMetric(align="disparity")
    with pytest.raises(DataError, match="max_depth is None"):
        align_depth(torch.ones(2), torch.ones(2), "disparity")
    with pytest.raises(DataError, match=r"depth range is 2\.0\.\.1\.0 m"):
        DepthMetric(min_depth=2.0, max_depth=1.0)
    with pytest.raises(DataError, match="aggregate is 'mean'"):
        metric.compute("mean")
    with pytest.raises(DataError, match=r"differ in max_depth: None and 80\.0"):
        metric.merge(DepthMetric(max_depth=80.0))
