"""The network with ways across, and the translator built on it: sizes, what passes, what starts where."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError, DataError
from visgen.gan.architecture.camera import add_camera_noise, check_grain
from visgen.gan.architecture.relight import RelightUNet
from visgen.gan.architecture.translator import TRANSLATORS
from visgen.gan.architecture.unet import UNet


@pytest.mark.parametrize("size", [(16, 16), (20, 28), (64, 96)])
def test_answers_are_as_large_as_pictures_or_half(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, *size) * 2 - 1
    assert UNet(5, channels=4, blocks=1)(x).shape == (2, 5, *size)
    assert UNet(5, channels=4, blocks=1, halved=True)(x).shape == (2, 5, size[0] // 2, size[1] // 2)
    made = UNet(5, channels=4, blocks=2)
    assert [f.shape[1] for f in made.features(x)] == made.widths == [4, 8, 16, 16, 16, 16]


@torch.no_grad()
def test_fine_detail_passes_across_where_the_bottom_gives_nothing() -> None:
    torch.manual_seed(0)
    made = UNet(1, channels=4, blocks=0).double()
    for stage in [*made.encoder[2:], *made.decoder[:2]]:
        for parameter in stage.parameters():
            parameter.zero_()
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    other = x.clone()
    other[..., 20, 9] += 1
    change = (made(other) - made(x)).abs()[0, 0]
    row, column = divmod(int(change.argmax()), 32)
    assert abs(row - 20) <= 3 and abs(column - 9) <= 3
    assert float(change[17:24, 6:13].mean()) > 20 * float(change[:8, 20:].mean())


@torch.no_grad()
def test_a_shift_changes_less_where_it_is_smooth_and_nothing_by_a_whole_cell() -> None:
    wide = torch.nn.functional.interpolate(torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1)), 192)
    inner = slice(80, 112)

    def moved(smooth: bool, seed: int, shift: int) -> float:
        torch.manual_seed(seed)
        made = UNet(1, channels=4, blocks=1, norm="group", smooth=smooth)
        for norm in [m for m in made.modules() if isinstance(m, torch.nn.GroupNorm)]:  # statistics see the border
            norm.forward = lambda x: x  # type: ignore[method-assign]
        here, there = made(wide)[0, 0], made(wide.roll(shift, -1))[0, 0].roll(-shift, -1)
        return float((here - there)[inner, inner].abs().mean() / here[inner, inner].std())

    plain, smooth = ([moved(s, seed, 4) for seed in range(4)] for s in (False, True))
    assert sum(smooth) < 0.7 * sum(plain)
    assert moved(True, 0, 8) < 1e-4


def test_two_seeds_differ_and_one_repeats() -> None:
    def made(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return UNet(2, channels=4, blocks=1)(torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16))

    assert torch.equal(made(0), made(0)) and not torch.equal(made(0), made(1))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="multiples of 4 >= 16"):
        UNet(2, channels=4)(torch.zeros(1, 3, 18, 20))
    for options in ({"outputs": 0}, {"outputs": 1, "channels": 0}, {"outputs": 1, "blocks": -1}):
        with pytest.raises(ConfigError, match="use 1 or more of the first two"):
            UNet(**options)


def test_the_translator_begins_dimmed_and_hardly_lit_and_stays_in_range() -> None:
    torch.manual_seed(0)
    made = TRANSLATORS.get("relight-unet")(channels=4, blocks=1)
    assert isinstance(made, RelightUNet)
    x = torch.rand(2, 3, 32, 40) * 2 - 1
    factor, light = made.maps(x)
    assert float((factor - 0.5).abs().mean()) < 0.1 and float(light.mean()) == pytest.approx(0.018, abs=0.01)
    expected = 1 - (1 - factor * (x + 1) / 2) * (1 - light)  # a screen blend
    assert torch.allclose((made(x) + 1) / 2, expected, atol=1e-6)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(30)
        night = made(x)
    assert float(night.min()) >= -1 - 1e-6 and float(night.max()) <= 1 + 1e-6


def test_camera_noise_has_the_deviation_that_is_drawn_for_each_picture() -> None:
    torch.manual_seed(0)
    grey = torch.zeros(200, 3, 16, 16)
    sigma = (add_camera_noise(grey, (0.02, 0.1)) / 2).std(dim=(1, 2, 3))
    assert 0.018 < float(sigma.min()) < 0.03 and 0.09 < float(sigma.max()) < 0.11
    assert float(sigma.mean()) == pytest.approx(0.06, abs=0.006)
    white = add_camera_noise(torch.ones(4, 3, 16, 16), (0.1, 0.1))
    assert float(white.max()) == 1 and float((white == 1).float().mean()) == pytest.approx(0.5, abs=0.05)
    for wrong in ((0.2, 0.1), (-0.1, 0.1), (0.1,), (0.0, 1.5), 0.1):
        with pytest.raises(ConfigError, match="two standard deviations in 0..1"):
            check_grain(wrong)
