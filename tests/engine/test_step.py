"""Reading the figures of a step."""

from __future__ import annotations

import torch

from visgen.engine.step import _read


def test_scalars_of_any_dtype_are_read_exactly() -> None:
    values = [torch.tensor(0.1), torch.tensor([0.3]).bfloat16(), torch.tensor(1 / 3, dtype=torch.float64)]
    values += [torch.tensor(2**40 + 1), torch.tensor(float("nan")), torch.tensor(float("inf"))]
    for given in (values, values[:2], values[1:2], []):
        assert repr(_read(given)) == repr([float(value) for value in given])
