"""The optional compiled kernel: the same results, and clear words where it cannot be built or used."""

import logging

import pytest
import torch

from visgen.errors import ConfigError, MissingDependency
from visgen.nn import compiled_kernel
from visgen.nn.compiled_kernel import build_kernel, kernel_library, kernel_path, kernel_refuses
from visgen.nn.expert_mlp import expert_mlp, masked_mlp
from visgen.nn.grouped_linear import grouped_linear, masked_linear
from visgen.nn.moe_backend import ENVIRONMENT, choose_backend


def bank(rows, width, hidden, experts, k, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = [(rows, width), (experts, hidden, width), (experts, hidden), (experts, width, hidden), (experts, width)]
    x, *parameters = (torch.randn(s, generator=g).mul(0.4).to(dtype) for s in shapes)
    chosen = torch.rand(rows, experts - 1, generator=g).topk(k).indices  # the last expert has no row
    return x, torch.rand(rows, k, generator=g).to(dtype), chosen, *parameters


def computes(dtype):
    if reason := kernel_refuses(dtype, ()):
        pytest.skip(reason)


# rows beside the size of a tile (16 or 32), widths beside the lanes of a vector and the outputs of a block
@pytest.mark.parametrize("sizes", [(1, 4, 4, 3, 2), (31, 36, 20, 4, 2), (300, 64, 100, 3, 1), (700, 24, 52, 9, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 0.02)])
def test_agrees_with_the_masked_loop_in_float64_with_gradients(compiled, sizes, dtype, tolerance):
    computes(dtype)
    given = bank(*sizes, dtype)
    assert choose_backend(given[0], given[3]) == "compiled"
    found = []
    for function, cast in ((expert_mlp, lambda t: t), (masked_mlp, torch.Tensor.double)):
        leaves = [cast(t).clone().requires_grad_() if t.is_floating_point() else t for t in given]
        out = function(*leaves)
        out.square().sum().backward()
        found.append([out.detach(), *(t.grad for t in leaves if t.requires_grad)])
    for ours, theirs in zip(*found, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=(tolerance + 1e-6) * (scale + 1))
    with torch.no_grad():  # without pre-activations to keep: the same bits
        assert torch.equal(expert_mlp(*given), found[0][0])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("counts", [[40, 0, 3], [0, 0, 43], [0, 0, 0]])
@pytest.mark.parametrize("with_bias", [True, False])
def test_grouped_linear_agrees(compiled, dtype, tolerance, counts, with_bias):
    computes(dtype)
    torch.manual_seed(0)
    counts = torch.tensor(counts)
    x, w = torch.randn(int(counts.sum()), 20, dtype=dtype), torch.randn(3, 28, 20, dtype=dtype)
    bias = torch.randn(3, 28, dtype=dtype) if with_bias else None
    exact = masked_linear(x.double(), w.double(), counts, None if bias is None else bias.double())
    torch.testing.assert_close(grouped_linear(x, w, counts, bias).double(), exact, rtol=tolerance, atol=20 * tolerance)


def test_gelu_keeps_the_digits_of_small_outputs(compiled):
    """One expert that copies its input: every value of GELU, the tails included."""
    values = torch.cat([torch.linspace(-14, 14, 4001), torch.tensor([0.0, -0.0, 1e-30, -1e-30, 60.0, -60.0])])
    x, eye, zero = values.view(-1, 1) * torch.tensor([[1.0, 0, 0, 0]]), torch.eye(4).repeat(2, 1, 1), torch.zeros(2, 4)
    chosen = torch.zeros(len(x), 1, dtype=torch.int64)
    ours = expert_mlp(x, torch.ones(len(x), 1), chosen, eye, zero, eye, zero)[:, 0].double()
    exact = values.double()
    theirs = exact / 2 * torch.special.erfc(-exact / 2**0.5)  # torch's own GELU loses the digits of the left tail
    # below -12 the fit is an extrapolation, of numbers under 1e-31
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-30)


def test_a_row_does_not_depend_on_the_other_rows_or_on_threads(compiled):
    x, gates, chosen, *parameters = bank(500, 32, 48, 5, 2, torch.float32)
    whole = expert_mlp(x, gates, chosen, *parameters)
    for row in (0, 17, 499):
        assert torch.equal(
            expert_mlp(x[row : row + 1], gates[row : row + 1], chosen[row : row + 1], *parameters)[0], whole[row]
        )
    kept = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert torch.equal(expert_mlp(x, gates, chosen, *parameters), whole)
    finally:
        torch.set_num_threads(kept)


def test_without_it_the_loop_computes_and_a_log_says_so_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(tmp_path))
    kernel_library.cache_clear()
    given = bank(9, 8, 8, 3, 2, torch.float32)
    with caplog.at_level(logging.INFO, logger="visgen.nn.compiled_kernel"):
        assert [choose_backend(given[0], given[3]) for _ in range(3)] == ["loop"] * 3
    (record,) = caplog.records
    assert str(tmp_path) in record.getMessage() and "visgen kernels build" in record.getMessage()
    monkeypatch.setenv(ENVIRONMENT, "compiled")
    with pytest.raises(ConfigError, match=r"'compiled' but it is not built \(visgen kernels build\); unset it"):
        expert_mlp(*given)


def test_it_is_not_chosen_for_what_it_cannot_compute(compiled, monkeypatch):
    assert choose_backend(torch.zeros(2, 6), torch.zeros(2, 4, 6)) == "loop"
    assert choose_backend(torch.zeros(2, 8).double(), torch.zeros(2, 4, 8).double()) == "loop"
    monkeypatch.setenv(ENVIRONMENT, "compiled")
    with pytest.raises(ConfigError, match="a width is 6 and it needs multiples of 4"):
        grouped_linear(torch.zeros(2, 6), torch.zeros(1, 4, 6), torch.tensor([2]))


def test_no_compiler_is_said_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(tmp_path))
    monkeypatch.setattr(compiled_kernel, "find_compiler", lambda: None)
    with pytest.raises(MissingDependency, match=r"no C\+\+ compiler was found .* set CXX"):
        build_kernel()


def test_a_compiler_that_fails_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(tmp_path))
    monkeypatch.setattr(compiled_kernel, "find_compiler", lambda: "false")
    with pytest.raises(MissingDependency, match="false could not compile the experts' kernel"):
        build_kernel()
    assert list(kernel_path().parent.iterdir()) == []


def test_a_torn_library_is_not_loaded(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv(compiled_kernel.CACHE_ENVIRONMENT, str(tmp_path))
    kernel_path().parent.mkdir(parents=True)
    kernel_path().write_bytes(b"not a library")
    kernel_library.cache_clear()
    assert kernel_library() is None
    assert "build it again: visgen kernels build --force" in caplog.text
    kernel_library.cache_clear()
