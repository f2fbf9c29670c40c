"""Contrastive tuples, diverse anchors and hard negatives, against values worked by hand and a slow walk."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from visgen.errors import ConfigError, DataError
from visgen.losses import ClusterHardNegativeMiner, DiverseAnchorSampler, contrastive_tuple_loss


def unit(count: int, width: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_loss_of_a_tuple_by_hand() -> None:
    """D^2 = 0.8 of the positive; (0.75 - 0.28284)^2 of the near negative; the far one costs nothing."""
    anchor, positive = torch.tensor([[1.0, 0]]), torch.tensor([[0.6, 0.8]])
    negatives = torch.tensor([[[0.96, 0.28], [0.0, 1.0]]])
    assert float(contrastive_tuple_loss(anchor, positive, negatives, 0.75)) == pytest.approx(0.50912, abs=1e-5)


def test_each_tuple_has_a_loss_of_its_own_and_equal_descriptors_a_finite_gradient() -> None:
    anchors = torch.tensor([[1.0, 0], [0, 1]], requires_grad=True)
    loss = contrastive_tuple_loss(anchors, anchors.detach().clone(), torch.tensor([[[0.0, 1]], [[0, 1]]]))
    assert loss.tolist() == pytest.approx([0, 0.5 * 0.75**2], abs=1e-5)
    loss.sum().backward()
    assert anchors.grad is not None and anchors.grad.isfinite().all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"negatives \(2, 3\)"):
        contrastive_tuple_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3))


def test_of_ten_candidates_only_the_middle_six_are_picked() -> None:
    assert DiverseAnchorSampler.positions(10) == (2, 8)
    assert DiverseAnchorSampler.positions(5) == (1, 4)  # in floats, 5 * (1 - 0.8) is just below 1
    assert [DiverseAnchorSampler.positions(v) for v in (1, 2, 3)] == [(0, 1), (0, 1), (0, 2)]
    # eleven candidates on an arc: the first is taken, the others lie in the order of their angle
    angles = torch.linspace(0, 1.5, 11)
    descriptors = torch.stack([angles.cos(), angles.sin()], 1)
    picked = set()
    for seed in range(200):
        chosen = DiverseAnchorSampler(2)(descriptors, torch.arange(11), torch.Generator().manual_seed(seed))
        picked.add(int(chosen[1]))
    # sorted by similarity to candidate 0 they are 10, 9, ..., 1; positions 2..7 are 8..3
    assert picked == {3, 4, 5, 6, 7, 8}


def test_a_picture_that_is_there_three_times_is_taken_once() -> None:
    descriptors = unit(12, 5, 0).repeat(3, 1)
    images = torch.arange(12).repeat(3)
    for seed in range(20):
        order = torch.randperm(36, generator=torch.Generator().manual_seed(seed))
        chosen = DiverseAnchorSampler(12)(descriptors[order], images[order], torch.Generator().manual_seed(seed))
        taken = images[order][chosen].tolist()
        assert sorted(taken) == list(range(12))
        assert chosen[0] == 0
    assert len(DiverseAnchorSampler(99)(descriptors, images, torch.Generator().manual_seed(0))) == 12


def test_diverse_anchors_follow_the_rule_written_out() -> None:
    """The same walk, sorting everything anew at each pick."""
    descriptors, images = unit(40, 6, 1), torch.arange(40)
    chosen = DiverseAnchorSampler(15)(descriptors, images, torch.Generator().manual_seed(7)).tolist()
    generator, taken = torch.Generator().manual_seed(7), [0]
    while len(taken) < 15:
        left = [i for i in range(40) if i not in taken]
        closest = {i: max(float(descriptors[i] @ descriptors[j]) for j in taken) for i in left}
        left.sort(key=closest.__getitem__)
        low, high = 2 * len(left) // 10, max(8 * len(left) // 10, 1)
        taken.append(left[int(torch.randint(min(low, high - 1), high, (), generator=generator))])
    assert chosen == taken


def test_hard_negatives_walk_the_pool_from_the_most_similar_on() -> None:
    anchors, pool = unit(6, 4, 2), unit(50, 4, 3)
    clusters = torch.arange(50) % 9
    own = torch.tensor([0, 1, 2, 3, 99, 4])
    found, there = ClusterHardNegativeMiner(5)(anchors, own, pool, clusters)
    assert there.all()
    for t in range(6):
        walked: list[int] = []
        seen = {int(own[t])}
        for i in (anchors[t] @ pool.T).argsort(descending=True).tolist():
            if int(clusters[i]) not in seen:
                seen.add(int(clusters[i]))
                walked.append(i)
        assert found[t].tolist() == walked[:5]


def test_where_places_run_out_the_rest_is_not_there() -> None:
    found, there = ClusterHardNegativeMiner(4)(
        unit(1, 3, 0), torch.tensor([0]), unit(5, 3, 1), torch.tensor([0, 0, 1, 1, 2])
    )
    assert there.tolist() == [[True, True, False, False]]
    assert found[0, 2:].tolist() == [0, 0] and 0 not in found[0, :2].tolist()


def test_settings_and_shapes_are_checked() -> None:
    with pytest.raises(ConfigError, match="count of diverse anchors is 0"):
        DiverseAnchorSampler(0)
    with pytest.raises(ConfigError, match="count of hard negatives is 0"):
        ClusterHardNegativeMiner(0)
    with pytest.raises(DataError, match=r"images \(2,\)"):
        DiverseAnchorSampler(1)(torch.zeros(3, 2), torch.zeros(2), torch.Generator())
    with pytest.raises(DataError, match=r"pool \(0, 2\)"):
        ClusterHardNegativeMiner()(torch.zeros(1, 2), torch.zeros(1), torch.zeros(0, 2), torch.zeros(0))
