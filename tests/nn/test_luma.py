"""How bright pictures are."""

from __future__ import annotations

import pytest
import torch

from visgen.nn.luma import mean_luma


def test_green_weighs_most_and_white_is_one() -> None:
    red, green = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    red[:, 0], green[:, 1] = 1, 1
    assert mean_luma(torch.cat([red, green])).tolist() == pytest.approx([0.2126, 0.7152])
    assert float(mean_luma(torch.ones(3, 2, 2))) == pytest.approx(1.0)
