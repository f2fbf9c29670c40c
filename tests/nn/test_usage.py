"""Shares of visits: by hand, and without the choices that a budget closed."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import DataError
from visgen.nn.route import GONE
from visgen.nn.usage import expert_usage


def test_shares_of_visits_by_hand() -> None:
    layer = {
        "experts": torch.tensor([[[0, 1], [0, 2], [1, GONE]]]),
        "weights": torch.tensor([[[0.7, 0.3], [1.0, 0.0], [1.0, 0.0]]]),  # tau closed the second, a slot is missing
        "selected": torch.zeros(1, 3),
    }
    assert expert_usage([layer, layer])[0].tolist() == [0.5, 0.5, 0.0] * 2
    with pytest.raises(DataError, match="collect=True"):
        expert_usage([{"selected": torch.zeros(1, 3)}])
