"""Edge loss against hand-worked values and its laws."""

import pytest
import torch

from visgen.losses import edge_loss, edge_targets


def edges(values: list[tuple[float, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets of two classes whose cross entropies are the given values; 1 marks a relation."""
    logits, target = torch.zeros(len(values), 2), torch.zeros(len(values), 2)
    for row, (value, kind) in enumerate(values):
        p = torch.tensor(-value).exp()
        logits[row, kind], logits[row, 1 - kind] = p.log(), (1 - p).log()
        target[row, kind] = 1
    return logits, target


EXAMPLE = [(1.2, 1), (0.3, 0), (0.5, 0), (0.4, 0)]


@pytest.mark.parametrize(("norm", "value"), [("baseline", 0.6), ("dnorm", 2.4), ("dnorm-fgbg", 1.6)])
def test_worked_example(norm, value):
    assert edge_loss(*edges(EXAMPLE), norm).item() == pytest.approx(value, abs=1e-6)


def test_dnorm_is_the_baseline_times_edges_over_relations():
    torch.manual_seed(0)
    logits, kinds = torch.randn(40, 5), torch.randint(0, 5, (40,))
    target = torch.eye(5)[kinds]
    ratio = len(kinds) / int((kinds > 0).sum())
    torch.testing.assert_close(edge_loss(logits, target, "dnorm"), edge_loss(logits, target, "baseline") * ratio)


@pytest.mark.parametrize(("norm", "is_kept"), [("dnorm", True), ("dnorm-fgbg", True), ("baseline", False)])
def test_the_gradient_of_a_relation_when_the_graph_gets_sparser(norm, is_kept):
    def gradient(rows):
        logits, target = edges(rows)
        logits.requires_grad_()
        edge_loss(logits, target, norm).backward()
        return logits.grad[0]

    small, large = gradient(EXAMPLE), gradient(EXAMPLE + [(0.2, 0)] * 20)
    assert torch.allclose(small, large) == is_kept
    assert small.abs().sum() > 0


@pytest.mark.parametrize("norm", ["dnorm", "dnorm-fgbg"])
def test_without_a_relation_all_are_the_baseline(norm):
    logits, target = edges([(0.3, 0), (0.5, 0)])
    assert edge_loss(logits, target, norm).item() == pytest.approx(0.4, abs=1e-6)


def test_only_relations_and_no_edge_at_all_are_finite():
    assert edge_loss(*edges([(1.2, 1)]), "dnorm-fgbg").item() == pytest.approx(1.2, abs=1e-6)
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = edge_loss(logits, torch.zeros(0, 3))
    loss.backward()
    assert loss.item() == 0


def test_weights_scale_edges_of_their_class():
    logits, target = edges(EXAMPLE)
    weighted = edge_loss(logits, target, "dnorm", torch.tensor([2.0, 0.5]))
    assert weighted.item() == pytest.approx(0.5 * 1.2 + 2 * 1.2, abs=1e-6)


def test_targets_share_a_pair_with_several_predicates():
    pairs = torch.tensor([[0, 1], [1, 0], [2, 0]])
    triplets = torch.tensor([[0, 1, 0], [0, 1, 2], [2, 0, 1], [2, 0, 1]])
    wanted = torch.tensor([[0, 0.5, 0, 0.5], [1, 0, 0, 0], [0, 0, 1, 0]])
    assert torch.equal(edge_targets(pairs, triplets, 3, 3), wanted)


def test_a_shared_target_still_is_one_relation():
    logits = torch.zeros(2, 3)
    target = torch.tensor([[0, 0.5, 0.5], [1, 0, 0]])
    assert edge_loss(logits, target, "dnorm").item() == pytest.approx(2 * torch.tensor(3.0).log().item())


def test_refusals():
    with pytest.raises(ValueError, match="norm is 'mean'; use one of baseline, dnorm, dnorm-fgbg"):
        edge_loss(torch.zeros(1, 2), torch.zeros(1, 2), "mean")
    with pytest.raises(ValueError, match=r"edge logits \(1, 2\) and targets \(1, 3\) must both be"):
        edge_loss(torch.zeros(1, 2), torch.zeros(1, 3))
