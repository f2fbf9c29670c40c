"""Few significant bits: nearest values, a bound on the error, and vectors left alone."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError
from visgen.nn.round_bits import round_bits


def test_values_are_the_nearest_of_so_many_bits() -> None:
    values = torch.tensor([[1.0, 1.1, -1.4, 5.1, 0.0, 48.9]])
    # with two bits the numbers are 1, 1.5, 2, 3, 4, 6, ... and their negatives
    assert round_bits(values, 2).tolist() == [[1.0, 1.0, -1.5, 6.0, 0.0, 48.0]]


@pytest.mark.parametrize("bits", [1, 4, 7, 11])
def test_the_error_is_at_most_half_a_unit_in_the_last_place(bits: int) -> None:
    values = torch.randn(40, 50, generator=torch.Generator().manual_seed(bits)) * 3
    rounded = round_bits(values, bits)
    assert float(((rounded - values) / values).abs().max()) <= 2.0**-bits
    assert torch.equal(round_bits(rounded, bits), rounded)
    assert torch.equal(rounded.half().float(), rounded)  # half precision holds them exactly


def test_vectors_and_none_stay_and_other_numbers_are_refused() -> None:
    vector, matrix = torch.randn(9), torch.randn(3, 3)
    assert torch.equal(round_bits(vector, 3), vector) and torch.equal(round_bits(matrix, None), matrix)
    for bits in (0, 12):
        with pytest.raises(ConfigError, match=f"bits is {bits}"):
            round_bits(matrix, bits)
