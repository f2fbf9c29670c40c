import numpy as np
import pytest
import torch

from visgen.errors import ConfigError, DataError, UnknownName
from visgen.nn.readout import Readout
from visgen.ood import OOD_SCORES, build_score, kept_share, score_table, shrunk_covariance, threshold_keeping

K, D, N = 4, 6, 240
OPTIONS = {"knn": {"k": 3, "bank": 100}, "energy": {"temperature": 2.0}, "vim": {"rank": 3}}
READOUT = Readout(2 * torch.eye(K, D), torch.zeros(K))  # what makes the logits of `world`


def world(seed=0):
    """Features around K directions with matching logits, and images far from all of them."""
    g = torch.Generator().manual_seed(seed)
    centres = 3 * torch.eye(K, D)
    labels = torch.arange(N) % K
    near = centres[labels] + 0.5 * torch.randn(N, D, generator=g)
    far = torch.randn(60, D, generator=g)
    far[:, :K] = -far[:, :K].abs()
    read = lambda x: 2 * x @ torch.eye(D, K)  # noqa: E731
    return read(near), near, labels, read(far), far


def seen_by(name, *features):
    """The features as the score reads them: shares of two layers of experts for the routing score."""
    if name != "routing":
        return features
    return tuple(torch.cat([x[:, : D // 2].softmax(1), x[:, D // 2 :].softmax(1)], 1) for x in features)


def fitted(name, seed=0):
    logits, features, labels, *_ = world(seed)
    (features,) = seen_by(name, features)
    return build_score(name, K, D, **OPTIONS.get(name, {})).fit(logits, features, labels, READOUT)


@pytest.mark.parametrize("name", OOD_SCORES.names())
def test_unlike_images_score_higher(name):
    score = fitted(name)
    logits, features, _, far_logits, far = world(1)
    features, far = seen_by(name, features, far)
    inside, outside = score(logits, features), score(far_logits, far)
    assert inside.shape == (N,) and inside.dtype == torch.float32
    # clipping, and an angle without its length, part this world less well than they order it
    least = 0.5 if name in ("react", "subspace_angle", "routing") else 0.95
    assert float(outside.median()) > float(inside.quantile(least))


@pytest.mark.parametrize("name", OOD_SCORES.names())
def test_a_fitted_score_is_its_state_dict(name):
    score = fitted(name)
    again = build_score(name, K, D, **OPTIONS.get(name, {}))
    again.load_state_dict(score.state_dict())
    logits, features, *_ = world(2)
    (features,) = seen_by(name, features)
    assert torch.equal(score(logits, features), again(logits, features))


@pytest.mark.parametrize("name", OOD_SCORES.names())
def test_a_batch_is_its_images_one_by_one(name):
    score = fitted(name)
    logits, features, *_ = world(3)
    (features,) = seen_by(name, features)
    single = torch.cat([score(logits[i : i + 1], features[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(score(logits[:5], features[:5]), single, rtol=1e-4, atol=1e-4)


def test_logit_scores_are_their_formulas():
    logits, features, *_ = world(4)
    z = logits.double().numpy()
    want = {
        "msp": -(np.exp(z) / np.exp(z).sum(1, keepdims=True)).max(1),
        "max_logit": -z.max(1),
        "energy": -2.0 * np.log(np.exp(z / 2.0).sum(1)),
    }
    for name, values in want.items():
        np.testing.assert_allclose(fitted(name)(logits, features).numpy(), values, rtol=1e-5, atol=1e-6)


def test_knn_equals_a_loop():
    logits, features, labels, *_ = world(0)
    score = build_score("knn", K, D, k=3, bank=N).fit(logits, features, labels)
    *_, far_logits, far = world(5)
    bank = features / features.norm(dim=1, keepdim=True)
    for i in range(10):
        x = far[i] / far[i].norm()
        want = sorted(float((x - b).norm()) for b in bank)[2]
        assert float(score(far_logits[i : i + 1], far[i : i + 1])) == pytest.approx(want, abs=1e-4)


def test_an_offset_that_all_features_share_costs_no_digits():
    _, features, labels, _, far = world(0)
    features, far, zeros = features + 300, far + 300, torch.zeros(N, K)
    x, unit = far.double(), torch.nn.functional.normalize(far, dim=1).double()
    score = build_score("mahalanobis", K, D, normalise=False, rank=3).fit(zeros, features, labels)
    inverse = torch.eye(D) / score.floor.double() - score.axes.double() @ score.axes.double().T
    apart = x[:, None] - score.means.double()
    knn = build_score("knn", K, D, k=3, bank=N).fit(zeros, features, labels)
    vim = build_score("vim", K, D, rank=2).fit(zeros, features, labels, READOUT)
    inside = vim.axes.double() @ vim.axes.double().T
    for found, want in (
        (score.class_distances(zeros[:60], far), (apart @ inverse * apart).sum(2)),
        (knn(zeros[:60], far), (unit[:, None] - knn.bank.double()).norm(dim=2).sort(1).values[:, 2]),
        (vim._residual(far), (x - x @ inside).norm(dim=1)),
    ):
        torch.testing.assert_close(found.double(), want, rtol=1e-3, atol=0.0)


def test_the_covariance_is_that_of_scikit_learn():
    from sklearn.covariance import ledoit_wolf

    for seed, count in ((0, 12), (1, 200)):
        x = torch.randn(count, D, generator=torch.Generator().manual_seed(seed)).double() * torch.arange(1, D + 1)
        x = x - x.mean(0)
        want, _ = ledoit_wolf(x.numpy(), assume_centered=True)
        np.testing.assert_allclose(shrunk_covariance(x).numpy(), want, rtol=1e-9, atol=1e-9)


def test_mahalanobis_equals_a_loop():
    score = fitted("mahalanobis")
    _, features, labels, _, far = world(0)
    unit = (features / features.norm(dim=1, keepdim=True)).double().numpy()
    means = np.stack([unit[labels.numpy() == k].mean(0) for k in range(K)])
    inverse = np.linalg.inv(shrunk_covariance(torch.tensor(unit - means[labels.numpy()])).numpy())
    logits = torch.zeros(len(far), K)
    for x, value in zip((far / far.norm(dim=1, keepdim=True)).double().numpy(), score(logits, far), strict=True):
        assert float(value) == pytest.approx(min((x - m) @ inverse @ (x - m) for m in means), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["mahalanobis", "relative_mahalanobis", "max_logit_mahalanobis"])
def test_what_is_remembered_follows_the_statistics(name):
    """The means on the axes are kept between calls: new statistics, loaded or fitted, must take their place."""
    logits, features, labels, *_ = world(2)
    score, other = fitted(name), fitted(name, seed=5)
    first, wanted = score(logits, features), other(logits, features)
    assert not torch.equal(first, wanted)
    score.load_state_dict(other.state_dict())
    assert torch.equal(score(logits, features), wanted)
    score.fit(*world()[:3])
    assert torch.equal(score(logits, features), first)
    with torch.inference_mode():
        assert torch.equal(score(logits, features), first)
    free = features.clone().requires_grad_()  # nothing that inference mode made is left behind
    score(logits, free).sum().backward()
    assert free.grad.isfinite().all()


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_few_axes_stand_for_the_covariance_with_one_width_for_the_others(rank):
    logits, features, labels, far_logits, far = world(0)
    score = build_score("mahalanobis", K, D, rank=rank).fit(logits, features, labels)
    unit = (features / features.norm(dim=1, keepdim=True)).double()
    means = torch.stack([unit[labels == k].mean(0) for k in range(K)])
    widths, axes = np.linalg.eigh(shrunk_covariance(unit - means[labels]).numpy())
    widths[: D - rank] = widths[: D - rank].mean()
    inverse = axes @ np.diag(1 / widths) @ axes.T
    for x, value in zip((far / far.norm(dim=1, keepdim=True)).double(), score(far_logits, far), strict=True):
        want = min(float((x - m).numpy() @ inverse @ (x - m).numpy()) for m in means)
        assert float(value) == pytest.approx(want, rel=1e-3, abs=1e-3)
    assert sum(b.numel() for b in score.buffers()) == K * D + D * rank + 2


def test_autocast_changes_no_score():
    logits, features, labels, far_logits, far = world(0)
    score = build_score("max_logit_mahalanobis", K, D).fit(logits, features, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = score(far_logits, far)
    assert torch.equal(inside, score(far_logits, far))


def test_the_sum_weighs_both_parts_alike():
    score = fitted("max_logit_mahalanobis")
    logits, features, *_ = world(0)
    values = score(logits, features)
    assert float(values.mean()) == pytest.approx(0, abs=1e-3)
    parts = [p(logits, features) for p in (score.max_logit, score.mahalanobis)]
    want = sum((p - p.mean()) / p.std() for p in parts)
    torch.testing.assert_close(values, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", OOD_SCORES.names())
def test_class_distances_are_least_where_the_score_says(name):
    score = fitted(name)
    logits, features, labels, *_ = world(4)
    (features,) = seen_by(name, features)
    found = score.class_distances(logits, features)
    assert found.shape == (N, K)
    assert float((found.argmin(1) == labels).float().mean()) > 0.9
    if name in ("mahalanobis", "relative_mahalanobis", "routing", "subspace_angle"):
        assert torch.equal(found.amin(1), score(logits, features))


def test_half_the_bytes_give_nearly_the_same_distances():
    logits, features, labels, far_logits, far = world(0)
    whole, half = (build_score("mahalanobis", K, D, half=h).fit(logits, features, labels) for h in (False, True))
    size = lambda s: sum(b.numel() * b.element_size() for b in (s.means, s.axes))  # noqa: E731
    assert 2 * size(half) == size(whole)
    torch.testing.assert_close(half(far_logits, far), whole(far_logits, far), rtol=1e-2, atol=1e-2)


def test_agreement_with_pytorch_ood():
    """Version 0.4.0; RMD there sums the products where a covariance divides by N, so ours is N times as large."""
    detectors = pytest.importorskip("pytorch_ood.detector")
    logits, features, *_ = world(6)
    np.testing.assert_allclose(fitted("msp")(logits, features), detectors.MaxSoftmax.score(logits), rtol=1e-5)
    np.testing.assert_allclose(fitted("max_logit")(logits, features), detectors.MaxLogit.score(logits), rtol=1e-5)
    np.testing.assert_allclose(
        fitted("energy")(logits, features), detectors.EnergyBased.score(logits, t=2.0), rtol=1e-5
    )


def test_the_routing_score_by_hand():
    """Class 0 uses the experts evenly, class 1 only the first; blend 0.5 of their mean (3/4, 1/4)."""
    usage = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    score = build_score("routing", 2, 2, blend=0.5).fit(torch.zeros(2, 2), usage, torch.tensor([0, 1]))
    want = [0.5 * np.log(0.5 / 0.625) + 0.5 * np.log(0.5 / 0.375), np.log(1 / 0.875)]
    np.testing.assert_allclose(score(torch.zeros(2, 2), usage).numpy(), want, atol=1e-5)
    with pytest.raises(DataError, match="no shares of experts"):
        score(torch.zeros(1, 2), torch.tensor([[0.5, 0.2]]))


def test_the_threshold_keeps_at_least_the_share():
    scores = torch.tensor([3.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    assert threshold_keeping(scores, 0.9) == 9.0 and kept_share(scores, 9.0) == 0.9
    assert threshold_keeping(scores, 0.91) == 10.0 and threshold_keeping(scores, 1.0) == 10.0
    for seed in range(20):
        drawn = torch.randn(37, generator=torch.Generator().manual_seed(seed))
        kept = kept_share(drawn, threshold_keeping(drawn, 0.95))
        assert 0.95 <= kept < 0.95 + 1 / 37


def test_refusals():
    logits, features, labels, *_ = world()
    with pytest.raises(ConfigError, match="no statistics yet; call fit"):
        build_score("msp", K, D)(logits, features)
    with pytest.raises(DataError, match=r"classes \[3\] have none"):
        build_score("mahalanobis", K, D).fit(logits[labels < 3], features[labels < 3], labels[labels < 3])
    with pytest.raises(DataError, match="must be \\(B, 4\\) and \\(B, 6\\)"):
        fitted("msp")(logits[:, :3], features)
    with pytest.raises(DataError, match="NaN or infinity"):
        fitted("msp")(logits * torch.nan, features)
    with pytest.raises(UnknownName, match="did you mean 'energy'"):
        build_score("enrgy", K, D)
    with pytest.raises(ConfigError, match=r"ViM reads the last layer \(4, 6\) of the classifier and got none"):
        build_score("vim", K, D).fit(logits, features, labels)
    with pytest.raises(ConfigError, match="has no option"):
        build_score("msp", K, D, k=3)
    with pytest.raises(ConfigError, match="rank of the Mahalanobis score is 0"):
        build_score("mahalanobis", K, D, rank=0)
    with pytest.raises(DataError, match="keeps 2000 images but 240"):
        build_score("knn", K, D).fit(logits, features, labels)
    with pytest.raises(ConfigError, match="share of images to keep is 0"):
        threshold_keeping(torch.zeros(3), 0)


def test_no_outside_moves_a_threshold_or_a_statistic():
    logits, features, labels, far_logits, far = world(0)
    held_logits, held, *_ = world(1)
    inside = {"train": (logits, features), "val": (held_logits, held)}
    given = lambda out, x: (  # noqa: E731
        {**{k: v[0] for k, v in inside.items()}, "far": out},
        {**{k: v[1] for k, v in inside.items()}, "far": x},
    )
    names = ["energy", "mahalanobis", "vim", "max_logit_mahalanobis"]
    options = {"vim": {"rank": 3}}
    one = score_table(names, *given(far_logits, far), labels, READOUT, options=options)
    two = score_table(names, *given(held_logits * 0.1, held * 0.1), labels, READOUT, options=options)
    assert all(one[name]["id_kept"] == two[name]["id_kept"] for name in names)
    assert any(one[name]["far"] != two[name]["far"] for name in names)
    assert (
        set(one["vim"]["far"]) == {"AUROC", "FPR95", "AUPR_in", "AUPR_out", "detection_error"}
        and 0.85 < one["energy"]["id_kept"] <= 1
    )
