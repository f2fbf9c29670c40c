"""Operations of a call, counted by hand."""

import torch
import torch.nn.functional as F

from visgen.cli.benches.arithmetic import count_flop
from visgen.nn.expert_mlp import expert_mlp
from visgen.nn.grouped_linear import grouped_linear


def test_each_kind_by_hand():
    x, w = torch.randn(6, 5), torch.randn(3, 4, 5)
    assert count_flop(lambda: x @ w[0].T) == 2 * 6 * 4 * 5
    assert count_flop(lambda: grouped_linear(x, w, torch.tensor([1, 0, 5]))) == 2 * 6 * 4 * 5
    assert count_flop(lambda: F.conv2d(torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3))) == 2 * 2 * 36 * 4 * 27


def test_experts_count_for_the_rows_that_visit_them():
    experts = torch.tensor([[0, 1], [0, 2], [0, 3]])
    weights = [torch.randn(4, 7, 5), torch.randn(4, 7), torch.randn(4, 5, 7), torch.randn(4, 5)]
    call = lambda: expert_mlp(torch.randn(3, 5), torch.ones(3, 2), experts, *weights)  # noqa: E731
    assert count_flop(call) == 2 * (3 * 2) * 2 * 5 * 7


def test_attention_counts_both_products():
    q, k = torch.randn(2, 3, 10, 16), torch.randn(2, 3, 12, 16)
    with torch.no_grad():
        assert count_flop(lambda: F.scaled_dot_product_attention(q, k, k)) == 2 * 2 * 3 * 10 * 12 * 32
