"""Darkening by hand, another picture of the same scene, and a chance with few outcomes."""

from __future__ import annotations

import pytest
import torch

from visgen.data import Sample
from visgen.data.transforms import ByNight, ColorJitter, Darken, OfFew, build_transform
from visgen.errors import ConfigError, DataError


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(value: float = 0.5, name: str = "a") -> Sample:
    return Sample(torch.full((3, 4, 6), value), {"classification": "kept"}, {"id": name})


def test_a_value_by_hand() -> None:
    dark = Darken(gamma=(2.0, 2.0), gain=(0.4, 0.4), noise=(0.0, 0.0), p=1.0)(sample(), rng())
    torch.testing.assert_close(dark.image, torch.full((3, 4, 6), 0.4 * 0.25))
    assert dark.targets["classification"] == "kept"


def test_noise_has_its_deviation_and_bytes_stay_bytes() -> None:
    step = Darken(gamma=(1.0, 1.0), gain=(1.0, 1.0), noise=(0.05, 0.05), p=1.0)
    noisy = step(Sample(torch.full((3, 64, 64), 0.5)), rng()).image - 0.5
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.05)
    assert step(Sample(torch.full((3, 8, 8), 128, dtype=torch.uint8)), rng()).pixels.dtype == torch.uint8


def test_a_share_is_changed_and_settings_are_checked() -> None:
    step, generator = Darken(p=0.25), rng()
    changed = sum(float(step(sample(), generator).image.mean()) < 0.49 for _ in range(400))
    assert 70 < changed < 130
    (built,) = build_transform([{"name": "darken", "p": 0.5}]).steps
    assert built == Darken(p=0.5)
    with pytest.raises(ConfigError, match="darken: p is 2"):
        Darken(p=2)
    with pytest.raises(ConfigError, match="darken: gain"):
        Darken(gain=(0.5, 1.5))


def test_another_picture_takes_the_place_of_the_first() -> None:
    night = torch.zeros(3, 4, 6)
    step = ByNight({"a": night}, p=1.0)
    shown = step(sample(), rng())
    assert shown.pixels is night and shown.meta == {"id": "a", "night": True} and shown.targets == sample().targets
    assert ByNight({}, p=0.0)(sample(), rng()).image.mean() == 0.5
    with pytest.raises(DataError, match=r"sample 'b' is \(3, 4, 6\), its other picture is none"):
        step(sample(name="b"), rng())


def test_only_a_few_outcomes_and_the_same_ones_again() -> None:
    step = OfFew(ColorJitter(), 3)
    outcomes = {step(sample(), rng(seed)).image.mean().item() for seed in range(60)}
    assert len(outcomes) == 3
    assert {OfFew(ColorJitter(), 3)(sample(), rng(seed + 100)).image.mean().item() for seed in range(60)} == outcomes
    assert {step(sample(name="b"), rng(seed)).image.mean().item() for seed in range(60)}.isdisjoint(outcomes)
    with pytest.raises(ConfigError, match="count is 0"):
        OfFew(ColorJitter(), 0)
