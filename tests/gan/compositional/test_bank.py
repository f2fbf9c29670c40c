"""The bank of real regions: even draws, and never a sample's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from visgen.errors import ConfigError, DataError
from visgen.gan.compositional import FeatureBank

SHAPE = (2, 3, 3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int) -> torch.Tensor:
    return torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(count, *SHAPE)


def test_it_gives_regions_of_the_class_and_never_of_the_same_picture(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        bank = FeatureBank(3, SHAPE, folder=folder)
        labels = torch.tensor([0, 0, 1, 0, 1])
        bank.add(["a", "a", "a", "b", "c"], labels, numbered(5), rng())
        assert len(bank) == 5 and bank.ids() == {"a", "b", "c"} and bank.seen == [3, 2, 0]
        for seed in range(20):
            drawn = bank.draw(torch.tensor([0, 0, 1, 1]), ["a", "b", "a", "z"], rng(seed))
            values = drawn[:, 0, 0, 0].tolist()
            assert torch.equal(drawn, drawn[:, :1, :1, :1].expand_as(drawn))
            assert values[0] == 3 and values[1] in (0, 1) and values[2] == 4 and values[3] in (2, 4)


def test_a_class_without_another_picture_gets_small_noise() -> None:
    bank = FeatureBank(2, SHAPE)
    bank.add(["a"], torch.tensor([0]), 100 * torch.ones(1, *SHAPE), rng())
    drawn = bank.draw(torch.tensor([0, 1]), ["a", "a"], rng(1))
    assert float(drawn.abs().max()) < 1 and bool(drawn.any())
    assert torch.equal(drawn, bank.draw(torch.tensor([0, 1]), ["a", "a"], rng(1)))


def test_a_full_bank_keeps_an_even_draw_of_all() -> None:
    kept: Counter[int] = Counter()
    for seed in range(300):
        bank = FeatureBank(1, (1, 1, 1), most=2)
        bank.fill([([str(i)], torch.tensor([0]), torch.full((1, 1, 1, 1), float(i))) for i in range(6)], rng(seed))
        assert len(bank) == 2
        kept.update(int(i) for i in bank.ids())
    assert sum((n - 100) ** 2 / 100 for n in kept.values()) < 20.5, kept  # each of 6 in a third of the banks


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match="0 classes"):
        FeatureBank(0, SHAPE)
    with pytest.raises(DataError, match="1 ids, 2 labels"):
        FeatureBank(2, SHAPE).add(["a"], torch.tensor([0, 1]), numbered(2), rng())
