"""Top-k gates by hand, routers per task, noise, and the sums that routing losses read."""

import math

import pytest
import torch

from visgen.errors import ConfigError, UnknownName
from visgen.nn.routing import Router, TaskRows, route_top_k, select_tasks, task_names
from visgen.nn.routing_sums import routing_statistics

LOGITS = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))
ONE = TaskRows(("a",), torch.tensor([0]))
TWO = TaskRows(("a", "b"), torch.tensor([0, 1]), torch.tensor([1, 0, 1]))


def test_top_two_by_hand():
    found = route_top_k(LOGITS, 2)
    assert found.experts.tolist() == [[3, 2]]
    torch.testing.assert_close(found.weights, torch.tensor([[4 / 7, 3 / 7]]))
    torch.testing.assert_close(found.probabilities, torch.tensor([[0.1, 0.2, 0.3, 0.4]]))


def test_reference_gates_are_the_probabilities():
    torch.testing.assert_close(route_top_k(LOGITS, 2, "none").weights, torch.tensor([[0.4, 0.3]]))
    torch.testing.assert_close(route_top_k(LOGITS, 1, "none").weights, torch.tensor([[0.4]]))


def test_gates_sum_to_one_and_run_in_float32():
    found = route_top_k(torch.randn(5, 7, 16).bfloat16(), 4)
    assert found.weights.dtype == found.probabilities.dtype == torch.float32
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(5, 7))
    assert (found.weights.diff(dim=-1) <= 0).all()


@pytest.mark.parametrize("k", [0, 5])
def test_k_out_of_range(k):
    with pytest.raises(ConfigError, match=rf"k is {k} but this layer has 4 experts; use 1..4"):
        route_top_k(LOGITS, k)


def test_single_gate_must_not_be_normalised():
    with pytest.raises(ConfigError, match="gate_norm is 'topk' with k = 1"):
        route_top_k(LOGITS, 1)
    with pytest.raises(ConfigError, match="gate_norm 'topkk' is unknown; did you mean 'topk'"):
        route_top_k(LOGITS, 2, "topkk")
    with pytest.raises(ConfigError, match="noise 'fix' is unknown; did you mean 'fixed'"):
        Router(4, 4, 2, ("a",), noise="fix")
    assert route_top_k(LOGITS[:, :1], 1).weights.tolist() == [[1.0]]


def test_single_reference_gate_trains_its_router():
    router = Router(4, 3, 1, ("a",), gate_norm="none")
    router(torch.randn(1, 6, 4), ONE).weights.sum().backward()
    assert router.tasks["a"].weight.grad.abs().sum() > 0


def test_mixed_batch_equals_runs_of_each_task():
    torch.manual_seed(0)
    x = torch.randn(3, 5, 8)
    for hidden in (0, 2):
        router = Router(8, 6, 2, ("a", "b"), hidden=hidden)
        if hidden:
            torch.nn.init.normal_(router.tasks["b"].bias)
        mixed = router(x, TWO)
        for i, name in enumerate("bab"):
            alone = router(x[i : i + 1], TaskRows((name,), torch.tensor([0])))
            torch.testing.assert_close(mixed.logits[i], alone.logits[0], rtol=1e-5, atol=1e-6)


def test_absent_task_has_no_gradient():
    router = Router(8, 6, 2, ("a", "b", "c"))
    router(torch.randn(3, 5, 8), TWO).weights.square().sum().backward()
    assert router.tasks["c"].weight.grad is None
    assert router.tasks["a"].weight.grad is not None


@pytest.mark.parametrize("noise", ["fixed", "learned"])
def test_noise_only_in_training_and_from_the_generator(noise):
    torch.manual_seed(0)
    router = Router(8, 6, 2, ("a",), noise=noise)
    assert len(router.tasks["a"].weight) == (12 if noise == "learned" else 6)
    x = torch.randn(1, 2000, 8)
    assert torch.equal(router.eval()(x, ONE).logits, router(x, ONE).logits)
    clean = router(x, ONE).logits
    router.train()
    noisy = router(x, ONE, torch.Generator().manual_seed(3)).logits
    assert torch.equal(noisy, router(x, ONE, torch.Generator().manual_seed(3)).logits)
    assert not torch.equal(noisy, router(x, ONE).logits)
    expected = 1 / 6 if noise == "fixed" else math.log(2) + 0.01  # softplus of a score near 0
    assert float((noisy - clean).detach().std()) == pytest.approx(expected, rel=0.05)


def test_learned_noise_trains_both_halves():
    router = Router(8, 6, 2, ("a",), noise="learned")
    router(torch.randn(1, 20, 8), ONE).weights.square().sum().backward()
    assert (router.tasks["a"].weight.grad.abs().sum(1) > 0).all()


def test_routes_in_float32_under_autocast():
    router = Router(8, 6, 2, ("a",))
    x = torch.randn(1, 4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(router(x, ONE).logits, router.scores(x, ONE))
        assert router(x, ONE).logits.dtype == torch.float32


def test_statistics_by_hand():
    torch.manual_seed(0)
    routing = Router(8, 6, 2, ("a", "b"))(torch.randn(3, 5, 8), TWO)
    found = routing_statistics(routing, TWO, collect=True)
    p = routing.probabilities
    assert found["task"].tolist() == [0, 1] and found["rows"].tolist() == [5.0, 10.0]
    torch.testing.assert_close(found["probabilities"], torch.stack([p[1].sum(0), (p[0] + p[2]).sum(0)]))
    torch.testing.assert_close(found["entropy"][0], -(p[1] * p[1].log()).sum())
    torch.testing.assert_close(found["z"][0], routing.logits[1].exp().sum(-1).log().square().sum())
    assert found["selected"][0].tolist() == torch.bincount(routing.experts[1].flatten(), minlength=6).tolist()
    assert found["selected"].sum(1).tolist() == [10.0, 20.0]
    assert found["image_task"].tolist() == [1, 0, 1] and found["experts"].shape == (3, 5, 2)


def test_statistics_of_a_mixed_batch_count_exactly_under_autocast():
    torch.manual_seed(0)
    routing = Router(8, 6, 2, ("a", "b"))(torch.randn(3, 440, 8), TWO)
    plain = routing_statistics(routing, TWO)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = routing_statistics(routing, TWO)
    assert found["selected"].sum(1).tolist() == [880.0, 1760.0]
    assert all(torch.equal(found[key], plain[key]) for key in plain)


def test_a_task_that_is_added_to_fewer_experts_than_k_visits_all_of_them():
    router = Router(8, 2, 2, ("a",))
    router.top_k = 3  # an extract keeps the layer's k
    router.add_task("b")
    assert router.route("b").top_k == 2 and router.scores_of("b") == 2


def test_select_tasks():
    cpu = torch.device("cpu")
    assert select_tasks(None, ("a",), 2, cpu).names == ("a",)
    found = select_tasks(torch.tensor([2, 0, 2]), ("a", "b", "c"), 3, cpu)
    assert found.names == ("a", "c") and found.ids.tolist() == [0, 2] and found.rows.tolist() == [1, 0, 1]
    assert select_tasks(torch.tensor([1, 1]), ("a", "b"), 2, cpu).rows is None


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (None, ConfigError, "task is missing and this model routes 2 tasks; pass one of: depth, pose"),
        ("dept", UnknownName, "task 'dept' is not routed by this model; did you mean 'depth'"),
        (torch.tensor([0, 2]), ConfigError, "task holds index 2; use 0..1"),
        (torch.tensor([-1, 0]), ConfigError, "task holds index -1; use 0..1"),
        (torch.tensor([0, 1, 1]), ConfigError, r"task is a tensor of shape \(3,\) and dtype torch.int64"),
        (torch.tensor([0.0, 1.0]), ConfigError, "dtype torch.float32"),
    ],
)
def test_select_tasks_refuses(task, error, message):
    with pytest.raises(error, match=message):
        select_tasks(task, ("depth", "pose"), 2, torch.device("cpu"))


@pytest.mark.parametrize("names", [(), ("a", "a"), ("a.b",), ("",)])
def test_task_names_refuses(names):
    with pytest.raises(ConfigError, match="name at least one task, each once and without dots"):
        task_names(names)
