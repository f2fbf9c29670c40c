"""The translator that dims and adds light: its formula, its limits, and what it carries over."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError, DataError
from visgen.gan.architecture.relight import RelightTranslator
from visgen.gan.architecture.translator import TRANSLATORS


def small(factor: float | None = None, light: float | None = None) -> RelightTranslator:
    """A translator; given logits, its maps are these everywhere."""
    torch.manual_seed(0)
    made = RelightTranslator(channels=4, blocks=1)
    if factor is not None and light is not None:
        last = made.decoder[-1]
        with torch.no_grad():
            last.weight.zero_()  # type: ignore[union-attr, operator]
            last.bias.copy_(torch.tensor([factor] * 3 + [light] * 3))  # type: ignore[union-attr, operator]
    return made


def test_full_factor_and_no_light_is_the_picture_itself() -> None:
    x = torch.rand(2, 3, 16, 20) * 2 - 1
    assert torch.allclose(small(40.0, -90.0)(x), x, atol=1e-6)


def test_no_factor_is_black_and_all_light_is_white() -> None:
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    assert torch.allclose(small(-90.0, -90.0)(x), -torch.ones_like(x))
    assert torch.allclose(small(0.0, 40.0)(x), torch.ones_like(x))


def test_light_is_screened_onto_the_dimmed_picture() -> None:
    logit = torch.tensor([0.3, 0.2]).logit()
    made = small(float(logit[0]), float(logit[1]))
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    expected = 1 - (1 - 0.3 * (x + 1) / 2) * (1 - 0.2)
    assert torch.allclose((made(x) + 1) / 2, expected, atol=1e-6)


def test_at_the_start_a_picture_is_dimmed_to_half_and_hardly_lit() -> None:
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    factor, light = small().maps(x)
    assert float((factor - 0.5).abs().mean()) < 0.1 and float(light.mean()) == pytest.approx(0.018, abs=0.01)


def test_answers_stay_in_range_whatever_the_weights_are() -> None:
    made = small()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(30)
    night = made(torch.rand(2, 3, 24, 16) * 2 - 1)
    assert float(night.min()) >= -1 - 1e-6 and float(night.max()) <= 1 + 1e-6


@torch.no_grad()
def test_grain_is_drawn_while_training_and_never_in_use() -> None:
    torch.manual_seed(0)
    made = RelightTranslator(channels=4, blocks=0, grain=(0.05, 0.05))
    x = torch.full((2, 3, 64, 64), 0.5)
    noise = (made.train()(x) - made.eval()(x)) / 2
    assert float(noise.std()) == pytest.approx(0.05, rel=0.03)
    assert torch.equal(made(x), made(x))
    torch.manual_seed(1)
    wide = RelightTranslator(channels=4, blocks=0, grain=(0.0, 0.1)).train()
    sigma = ((wide(x.repeat(20, 1, 1, 1)) - wide.eval()(x[:1])) / 2).std(dim=(1, 2, 3))
    assert float(sigma.min()) < 0.03 and 0.07 < float(sigma.max()) < 0.105  # each picture has its own
    with pytest.raises(ConfigError, match=r"grain is \[0.2, 0.1\]; give two standard deviations"):
        RelightTranslator(grain=(0.2, 0.1))


@pytest.mark.parametrize("smooth", [True, False])
def test_even_ground_gets_even_light_where_doublings_are_smooth(smooth: bool) -> None:
    torch.manual_seed(0)
    made = RelightTranslator(channels=4, blocks=1, smooth=smooth)
    factor, light = made.maps(torch.full((1, 3, 64, 64), 0.3))
    inside = torch.cat([factor, light], dim=1)[..., 24:40, 24:40]
    assert (float(inside.std(dim=(2, 3)).max()) < 1e-6) is smooth


def test_it_has_the_stages_that_it_tells_and_is_listed() -> None:
    made = TRANSLATORS.get("relight")(channels=4, blocks=2)
    found = made.features(torch.zeros(1, 3, 16, 24))
    assert [f.shape[1] for f in found] == made.widths == [4, 8, 16, 16, 16]
    with pytest.raises(DataError, match="multiples of 4"):
        made(torch.zeros(1, 3, 18, 24))
    with pytest.raises(ConfigError, match="blocks -1"):
        RelightTranslator(blocks=-1)
