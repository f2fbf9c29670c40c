"""Routing losses by hand, mutual information against scipy, and the running estimator against the exact value."""

import math

import pytest
import torch
from scipy.stats import entropy

from visgen.errors import ConfigError, DataError
from visgen.losses.routing import (
    RoutingLoss,
    RoutingLossConfig,
    RunningMutualInformation,
    balance_loss,
    importance_loss,
    merge_routing,
    mutual_information,
    z_loss,
)
from visgen.metrics import routing_summary

T, E = 3, 5


def conditional(seed=0, tasks=T, experts=E):
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(tasks, experts, generator=generator, dtype=torch.float64)).softmax(-1)


def statistics(p, rows=10.0, task=None):
    """Statistics of a layer in which every token of task t has the probabilities p[t]."""
    rows = torch.full((len(p),), rows, dtype=p.dtype)
    return {
        "task": torch.arange(len(p)) if task is None else task,
        "rows": rows,
        "probabilities": p * rows[:, None],
        "selected": (p * rows[:, None]).detach().float(),
        "entropy": -(p * p.clamp_min(1e-30).log()).sum(1) * rows,
        "z": 4 * rows,
    }


def test_uniform_routers_have_none():
    assert mutual_information(torch.ones(T, E), torch.full((T,), float(E))).abs() < 1e-7


def test_partitioned_routers_have_log_t():
    p = torch.tensor([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 1.0, 0, 0, 0], [0, 0, 0, 0.2, 0.3, 0.5]], requires_grad=True)
    value = mutual_information(p * 7, torch.full((3,), 7.0))
    assert value.item() == pytest.approx(math.log(3), abs=1e-6)
    value.backward()
    assert torch.isfinite(p.grad).all()


def test_equals_the_divergence_of_scipy():
    p = conditional().numpy()
    joint, product = p / T, (p.mean(0) / T)[None].repeat(T, 0)
    found = mutual_information(torch.from_numpy(p) * 12, torch.full((T,), 12.0))
    assert found.item() == pytest.approx(entropy(joint.ravel(), product.ravel()), abs=1e-12)


def test_tasks_weigh_the_same_whatever_their_rows():
    p, rows = conditional(), torch.tensor([1.0, 50.0, 3.0])
    even = mutual_information(p, torch.ones(T))
    assert mutual_information(p * rows[:, None], rows).item() == pytest.approx(even.item(), abs=1e-12)


def test_permuting_experts_changes_nothing_and_absent_tasks_are_left_out():
    p = conditional()
    value = mutual_information(p, torch.ones(T))
    torch.testing.assert_close(mutual_information(p[:, torch.randperm(E)], torch.ones(T)), value)
    more = torch.cat([p, torch.zeros(1, E)])
    torch.testing.assert_close(mutual_information(more, torch.tensor([1.0, 1, 1, 0])), value)
    assert mutual_information(torch.zeros(T, E), torch.zeros(T)) == 0


def test_one_task_has_none():
    assert mutual_information(conditional(tasks=1), torch.ones(1)).abs() < 1e-12


def exact_running(p, warmup=0):
    running = RunningMutualInformation(T, E, warmup=warmup).double()
    running.observe(torch.arange(T), p.detach() * 10, torch.full((T,), 10.0))
    running.step()
    return running


def test_surrogate_has_the_value_and_gradient_of_the_exact_loss():
    logits = torch.randn(T, E, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    exact = mutual_information(logits.softmax(-1), torch.ones(T))
    (expected,) = torch.autograd.grad(exact, logits)
    running = exact_running(logits.softmax(-1))
    parts = [running(torch.tensor([t]), logits.softmax(-1)[t : t + 1] * 4, torch.tensor([4.0])) for t in range(T)]
    assert sum(parts).item() == pytest.approx(exact.item(), abs=1e-7)
    (found,) = torch.autograd.grad(sum(parts), logits)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("share", [(0.5, 0.3, 0.2), (0.9, 0.08, 0.02)])
def test_stream_of_single_tasks_converges_to_the_joint_at_any_ratio(share):
    p = conditional(3).float()
    generator = torch.Generator().manual_seed(0)
    running = RunningMutualInformation(T, E)
    for _ in range(2500):
        task = torch.multinomial(torch.tensor(share), 1, generator=generator)
        seen = torch.multinomial(p[int(task)], 100, replacement=True, generator=generator)
        running.observe(task, torch.bincount(seen, minlength=E)[None].float(), torch.tensor([100.0]))
        running.step()
    torch.testing.assert_close(running.conditional(), p, rtol=0, atol=0.02)
    exact = mutual_information(p, torch.ones(T))
    assert running.value().item() == pytest.approx(exact.item(), rel=0.05)


def test_no_bias_of_early_rows():
    """After one batch of each task the estimate is that batch, not a hundredth of it."""
    p = conditional().float()
    running = exact_running(p.double())
    torch.testing.assert_close(running.conditional().float(), p)
    assert running.updates.tolist() == [1, 1, 1]


def test_warmup_is_a_plain_mean_and_then_forgets():
    running = RunningMutualInformation(1, 2, momentum=0.5, warmup=2)
    batches = [[8.0, 0.0], [0.0, 4.0], [4.0, 0.0]]
    for row in batches[:2]:
        running.observe(torch.tensor([0]), torch.tensor([row]), torch.tensor([sum(row)]))
        running.step()
    torch.testing.assert_close(running.conditional(), torch.tensor([[8 / 12, 4 / 12]]))
    running.observe(torch.tensor([0]), torch.tensor([batches[2]]), torch.tensor([4.0]))
    running.step()
    torch.testing.assert_close(running.conditional(), torch.tensor([[8 / 10, 2 / 10]]))  # (4 + 4, 2 + 0)


def test_warmup_counts_each_task_and_gives_no_loss():
    running = RunningMutualInformation(2, 3, warmup=2)
    p = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    for task, visits in ((0, 3), (1, 1)):
        for _ in range(visits):
            running.observe(torch.tensor([task]), p[task : task + 1], torch.ones(1))
            running.step()
    assert running.updates.tolist() == [3, 1]
    assert running(torch.tensor([0]), p[:1], torch.ones(1)) > 0.1
    assert running(torch.tensor([1]), p[1:], torch.ones(1)) == 0


def test_tasks_never_seen_stay_out_of_the_marginal():
    running = RunningMutualInformation(4, 3, warmup=0)
    p = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    running.observe(torch.tensor([0, 2]), p, torch.ones(2))
    running.step()
    found = running(torch.tensor([0, 2]), p, torch.ones(2))
    assert found.item() == pytest.approx(mutual_information(p, torch.ones(2)).item(), abs=1e-6)


def test_estimate_moves_only_in_step_and_forgets_on_discard():
    running = exact_running(conditional(), warmup=0)
    before = running.sums.clone()
    for _ in range(2):  # two micro-batches make one update
        running(torch.tensor([1]), conditional(5)[:1], torch.ones(1))
    assert torch.equal(running.sums, before)
    running.step()
    assert running.updates.tolist() == [1, 2, 1] and not torch.equal(running.sums[1], before[1])
    assert torch.equal(running.sums[[0, 2]], before[[0, 2]])
    kept = running.sums.clone()
    running(torch.tensor([1]), conditional(5)[:1], torch.ones(1))
    running.discard()
    running.step()
    assert torch.equal(running.sums, kept) and running.updates.tolist() == [1, 2, 1]


def test_resume_in_mid_stream_is_bitwise(tmp_path):
    from safetensors.torch import load_file, save_file

    def run(running, start, stop):
        values = []
        for i in range(start, stop):
            p = conditional(i).float()[:1]
            values.append(running(torch.tensor([i % T]), p * 3, torch.tensor([3.0])))
            running.step()
        return values

    whole = RunningMutualInformation(T, E, warmup=3)
    expected = run(whole, 0, 24)
    first = RunningMutualInformation(T, E, warmup=3)
    run(first, 0, 11)
    save_file(first.state_dict(), tmp_path / "state.safetensors")
    second = RunningMutualInformation(T, E, warmup=3)
    second.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(expected[11:], run(second, 11, 24), strict=True))
    assert torch.equal(whole.sums, second.sums)


def test_balance_by_hand():
    even = torch.full((2, 4), 0.25)
    assert balance_loss(even * 8, even * 8, torch.full((2,), 8.0)).item() == pytest.approx(1.0)
    p = torch.tensor([[0.6, 0.35, 0.04, 0.01]])  # 1 / (4 E) is 0.0625: two experts count
    chosen = torch.tensor([[3.0, 1.0, 0.0, 0.0]])
    assert balance_loss(p, chosen, torch.ones(1)).item() == pytest.approx(4 * (0.75 * 0.6 + 0.25 * 0.35))


def test_balance_pushes_only_on_experts_in_use():
    p = torch.tensor([[0.6, 0.35, 0.04, 0.01]], requires_grad=True)
    balance_loss(p, torch.tensor([[2.0, 1.0, 1.0, 0.0]]), torch.ones(1)).backward()
    assert p.grad[0].tolist() == [2.0, 1.0, 0.0, 0.0]


def test_importance_and_z_by_hand():
    assert importance_loss(torch.full((2, 4), 3.0)).item() == 0
    assert importance_loss(torch.tensor([[1.0, 2.0], [2.0, 7.0]])).item() == pytest.approx(9 / 36)  # masses 3 and 9
    assert z_loss(torch.tensor([6.0, 2.0]), torch.tensor([3.0, 1.0])).item() == 2.0


def test_pooled_loss_is_the_weighted_sum_over_layers():
    p, q = conditional(1).requires_grad_(), conditional(2)
    config = RoutingLossConfig(mi=0.5, balance=0.1, importance=0.2, z=0.3, entropy=0.4, mode="pooled")
    loss = RoutingLoss([E, E], T, config)
    # three passes of one task each, joined
    passes = [[statistics(x[t : t + 1], task=torch.tensor([t])) for x in (p, q)] for t in range(T)]
    found = loss(merge_routing(passes))
    expected = sum(mutual_information(x, torch.ones(T)) for x in (p, q))
    assert found["mutual_information"].item() == pytest.approx(expected.item(), abs=1e-6)
    assert found["z"].item() == pytest.approx(8.0)
    terms = {"mutual_information": -0.5, "balance": 0.1, "importance": 0.2, "z": 0.3, "entropy": 0.4}
    assert found["loss"].item() == pytest.approx(sum(w * found[n].item() for n, w in terms.items()), abs=1e-6)
    found["loss"].backward()
    assert p.grad.abs().sum() > 0
    assert not found["balance"].requires_grad


def test_passes_of_one_task_are_one_row():
    """Two label sets of a task in one step count as that task once, with the rows of both."""
    p = conditional(1, tasks=2)
    passes = [[statistics(p[:1], rows=30.0, task=torch.tensor([1]))], [statistics(p[1:], task=torch.tensor([1]))]]
    (found,) = merge_routing([*passes, [statistics(p[:1], task=torch.tensor([0]))]])
    assert found["task"].tolist() == [0, 1] and found["rows"].tolist() == [10.0, 40.0]
    torch.testing.assert_close(found["probabilities"][1], 30 * p[0] + 10 * p[1])
    running = RunningMutualInformation(3, E, warmup=0).double()
    running.observe(torch.arange(3), conditional(9), torch.ones(3, dtype=torch.float64))
    running.step()
    both = running(found["task"][1:], found["probabilities"][1:], found["rows"][1:])
    mean = running(torch.tensor([1]), (0.75 * p[:1] + 0.25 * p[1:]), torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(both, mean)


def test_running_loss_rewards_dependence_between_task_and_expert():
    torch.manual_seed(0)
    logits = torch.nn.Parameter(0.1 * torch.randn(T, 6))
    loss = RoutingLoss([6], T, RoutingLossConfig(mi=1.0, warmup=2, momentum=0.8))
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for step in range(400):
        task = torch.tensor([step % T])
        optimizer.zero_grad()
        loss([statistics(logits.softmax(-1)[task], task=task)])["loss"].backward()
        optimizer.step()
        loss.step()
    report = routing_summary(loss.layers[0].conditional(), [str(t) for t in range(T)], 2)
    assert report.normalised > 0.9
    assert report.overlap["0|1"] < 0.5


def test_sharpening_follows_the_running_estimate():
    loss = RoutingLoss([E], T, RoutingLossConfig(mi=0, sharpen=1.0))
    p = conditional(1).float()
    assert loss([statistics(p)])["sharpen"] == 0  # nothing known yet
    loss.step()
    expected = -(p * p.log()).sum(1).mean()
    assert loss([statistics(p)])["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_refusals():
    with pytest.raises(ConfigError, match="mode 'pool' is unknown; did you mean 'pooled'"):
        RoutingLossConfig(mode="pool")
    with pytest.raises(ConfigError, match="momentum is 1.0; use 0 <= momentum < 1"):
        RunningMutualInformation(2, 3, momentum=1.0)
    with pytest.raises(DataError, match="routing statistics have 0 layers but the loss was built for 2"):
        RoutingLoss([4, 4], 2)([])


def test_no_weights_give_a_zero_that_can_be_added():
    found = RoutingLoss([E], T, RoutingLossConfig(mi=0.0))([statistics(conditional(0).float())])
    assert found["loss"] == 0 and (found["loss"] + torch.ones(())).item() == 1
