"""Contrast made even: a histogram by hand, one tile against an independent equalisation, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from visgen.data import Sample
from visgen.data.transforms import Clahe, build_transform
from visgen.errors import ConfigError


def grey(levels: list[list[int]] | torch.Tensor) -> Sample:
    picture = torch.as_tensor(levels, dtype=torch.uint8).expand(3, -1, -1)
    return Sample(picture.clone(), {"classification": "kept"}, {"id": "a"})


def apply(step: Clahe, sample: Sample) -> torch.Tensor:
    return step(sample, torch.Generator()).pixels


def test_two_levels_by_hand() -> None:
    # shares 3/4 and 1/4, never cut: middles at 3/8 and 7/8 of 256, half a level down
    found = apply(Clahe(tiles=(1, 1), limit=256), grey([[10, 10], [10, 20]]))
    assert found[0].tolist() == [[96, 96], [96, 224]]
    # limit 64 leaves 1/4 to each; the rest, 1/2, is spread: 10 goes to (10.5 / 512 + 1/8) of 256, 20 above by 1/4 + ...
    cut = apply(Clahe(tiles=(1, 1), limit=64), grey([[10, 10], [10, 20]]))
    assert cut[0, 0, 0] == round(256 * (10.5 / 512 + 1 / 8) - 0.5) and cut[0, 1, 1] == round(
        256 * (20.5 / 512 + 3 / 8) - 0.5
    )


def test_one_tile_without_a_limit_is_what_pillow_calls_equalisation() -> None:
    rng = torch.Generator().manual_seed(0)
    picture = (20 + 235 * torch.rand(64, 96, generator=rng) ** 2).to(torch.uint8)
    mine = apply(Clahe(tiles=(1, 1), limit=256), grey(picture))[0].float()
    theirs = torch.from_numpy(np.array(ImageOps.equalize(Image.fromarray(picture.numpy())))).float()
    assert float((mine - theirs).abs().mean()) < 2  # Pillow counts from the other edge of a level's share
    assert float(mine.std()) == pytest.approx(256 / 12**0.5, rel=0.02)  # an even distribution


def test_an_even_histogram_and_its_chroma_stay_as_they_are() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(16, 16)
    assert torch.equal(apply(Clahe(tiles=(1, 1)), grey(ramp))[0], ramp)
    rng = torch.Generator().manual_seed(1)
    colours = Sample(100 + 30 * torch.rand(3, 32, 32, generator=rng).mul(255).round() / 255, {}, {}).image / 255
    changed = Clahe(tiles=(2, 2), limit=3)(Sample(colours, {}, {}), torch.Generator()).image
    torch.testing.assert_close(changed[0] - changed[2], colours[0] - colours[2], atol=1e-5, rtol=0)


def test_dark_parts_gain_contrast_next_to_bright_ones() -> None:
    rng = torch.Generator().manual_seed(2)
    dark = 8 + 4 * (torch.rand(32, 64, generator=rng) > 0.5)
    bright = 120 + 80 * (torch.rand(32, 64, generator=rng) > 0.5)
    sample = grey(torch.cat([dark, bright]))
    found = apply(Clahe(tiles=(4, 4), limit=8), sample)[0].float()
    assert found[:16].std() > 2.5 * sample.pixels[0, :16].float().std()
    assert sample.targets == Clahe()(sample, torch.Generator()).targets
    assert int(sample.pixels[0, 0].max()) == 12  # the picture given is not changed


def test_built_by_name_and_checked() -> None:
    (built,) = build_transform([{"name": "clahe", "tiles": [4, 6], "limit": 3}]).steps
    assert built == Clahe((4, 6), 3)
    assert apply(Clahe(tiles=(9, 9)), grey([[1, 2], [3, 4]])).shape == (3, 2, 2)  # never more tiles than pixels
    with pytest.raises(ConfigError, match=r"clahe: tiles is \[0, 4\]"):
        Clahe(tiles=(0, 4))
    with pytest.raises(ConfigError, match=r"clahe: limit is 0.5; it must be 1 or more"):
        Clahe(limit=0.5)
