"""Scores in grey: the order stays, the brightest part decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from visgen.diffusion.codec import CodecSettings, ScoreMap
from visgen.errors import ConfigError, DataError
from visgen.language import TaskRequest
from visgen.structures import Masks, OODLabel, OODVerdict

OOD = TaskRequest("ood")


def smooth(seed: int, size: tuple[int, int] = (128, 128)) -> Tensor:
    coarse = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=False)[0, 0].clamp(0, 1)


def test_by_hand() -> None:
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[0, 4:8, 4:8] = True
    value = Masks(mask, torch.tensor([0]), ("odd",))
    picture = ScoreMap().encode(value, OOD, (20, 20))
    assert torch.equal(picture[0] > 0, mask[0])
    found = ScoreMap().decode(picture, OOD, (20, 20))
    assert found.score == 1 and found.map is not None and torch.equal(found.map > 0.5, mask[0])
    assert ScoreMap().decode(ScoreMap().encode(OODLabel(False), OOD, (8, 8)), OOD, (30, 20)).score == 0
    assert ScoreMap().decode(ScoreMap().encode(OODLabel(True), OOD, (8, 8)), OOD, (30, 20)).score == 1


def test_levels_spread_any_score_over_the_shades() -> None:
    codec = ScoreMap(CodecSettings(ood_levels=(-5.0, -2.0, 0.0, 7.0)))
    verdict = OODVerdict(1.0, map=torch.tensor([[-9.0, -3.0, -1.0, 3.0, 50.0]]))
    assert codec.encode(verdict, OOD, (1, 5))[0].tolist() == [[-1, -0.5, 0, 0.5, 1]]
    assert codec.threshold_shade(-1.0) == 0.5 and ScoreMap().threshold_shade(0.3) == 0.3
    with pytest.raises(ConfigError, match="ood_levels do not rise"):
        CodecSettings(ood_levels=(1.0, 1.0))


def test_maps_stand_eight_bits_and_noise(corruptions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    for seed in range(3):
        score = smooth(seed)
        picture = ScoreMap().encode(OODVerdict(0.0, map=score), OOD, (128, 128))
        torch.testing.assert_close(picture[0], score * 2 - 1)
        clean = ScoreMap().decode(corruptions["clean8"](picture), OOD, (128, 128)).map
        assert clean is not None and float((clean - score).abs().max()) <= ScoreMap.tolerance["clean8"]
        noisy = ScoreMap().decode(corruptions["n16"](picture), OOD, (128, 128)).map
        assert noisy is not None
        assert spearmanr(noisy.flatten(), score.flatten()).statistic >= ScoreMap.tolerance["n16"]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(DataError, match="not an OODVerdict without a map"):
        ScoreMap().encode(OODVerdict(1.0), OOD, (8, 8))
    with pytest.raises(DataError, match="not a Tensor"):
        ScoreMap().encode(torch.zeros(4, 4), OOD, (8, 8))
