"""Augmentation between images and discriminator: what it may change, that gradients pass, and how p adapts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from visgen.errors import ConfigError
from visgen.gan import AUGMENTS
from visgen.gan.augment import AdaptiveAugment, DiffAugment
from visgen.gan.augment.diff_augment import cut_out, jitter_colour, translate


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_shift_moves_whole_pixels_and_brings_in_zeros() -> None:
    x = torch.arange(1.0, 65.0).view(1, 1, 8, 8).repeat(40, 3, 1, 1)
    moved = translate(x, rng())
    offsets = set()
    for image in moved[:, 0]:
        found = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if torch.equal(image, _shifted(x[0, 0], i, j))]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) == 9  # 1/8 of 8 pixels: one pixel each way, all nine drawn


def _shifted(image: Tensor, rows: int, columns: int) -> Tensor:
    out = torch.zeros_like(image)
    for i in range(8):
        for j in range(8):
            if 0 <= i + rows < 8 and 0 <= j + columns < 8:
                out[i, j] = image[i + rows, j + columns]
    return out


def test_a_hole_is_a_square_of_half_the_side_or_what_of_it_lies_inside() -> None:
    holes = (cut_out(torch.ones(200, 3, 8, 8), rng()) == 0)[:, 0]
    counts = holes.flatten(1).sum(1)
    assert int(counts.max()) == 16 and int(counts.min()) >= 4
    for hole in holes[:20]:
        rows, columns = hole.any(1), hole.any(0)
        assert torch.equal(hole, rows[:, None] & columns[None])  # a rectangle


def test_colour_jitter_keeps_grey_images_grey_and_shifts_brightness_by_half_at_most() -> None:
    grey = torch.full((50, 3, 4, 4), 0.25)
    jittered = jitter_colour(grey, rng())
    torch.testing.assert_close(jittered, jittered[:, :1, :1, :1].expand_as(jittered))
    assert float((jittered - grey).abs().max()) <= 0.5
    assert float(jittered[:, 0, 0, 0].std()) > 0.2


@pytest.mark.parametrize("part", [translate, cut_out, jitter_colour])
def test_gradients_pass_and_the_generator_alone_decides(part: Callable[..., Tensor]) -> None:
    x = torch.rand(4, 3, 8, 8, requires_grad=True)
    part(x, rng()).sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    assert torch.equal(part(x, rng(3)), part(x, rng(3))) and not torch.equal(part(x, rng(3)), part(x, rng(4)))


def test_adaptive_p_moves_by_the_images_over_the_speed() -> None:
    pipe = AdaptiveAugment()  # every 4 steps
    sure = torch.tensor([1.0] * 17 + [-1.0] * 3)  # mean sign 0.7
    for _ in range(4):
        assert float(pipe.p) == 0
        pipe.observe(sure, 64)
    assert float(pipe.p) == pytest.approx(256 / 500_000)  # 5.12e-4
    for _ in range(8):
        pipe.observe(-sure, 64)
    assert float(pipe.p) == 0  # down, and not below 0
    assert {"p", "signs", "seen", "steps"} <= set(pipe.state_dict())


def test_adaptive_augmentation_changes_a_share_p_of_the_images() -> None:
    x = torch.rand(400, 3, 8, 8)
    assert torch.equal(AdaptiveAugment(p=0.0)(x, rng()), x)
    changed = (AdaptiveAugment(p=0.3)(x, rng()) != x).flatten(1).any(1).float().mean()
    assert float(changed) == pytest.approx(0.3, abs=0.06)


def test_every_pipe_keeps_the_shape() -> None:
    for name in AUGMENTS.names():
        assert AUGMENTS.build(name)(torch.rand(2, 3, 8, 8), rng()).shape == (2, 3, 8, 8)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="'colour'; did you mean 'color'"):
        DiffAugment(("colour",))
    with pytest.raises(ConfigError, match="p is 2"):
        AdaptiveAugment(p=2)
