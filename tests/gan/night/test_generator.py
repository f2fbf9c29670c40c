"""The night keeps every pixel in its place, whatever the size, and comes back from disk as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from visgen.errors import CheckpointError, ConfigError, DataError
from visgen.gan.architecture.translator import ResNetTranslator
from visgen.gan.night import NightGenerator, load_night, save_night

OPTIONS = {"name": "resnet", "channels": 4, "blocks": 1, "norm": "instance"}


def translator() -> ResNetTranslator:
    torch.manual_seed(0)
    return ResNetTranslator(channels=4, blocks=1)


class Dim(nn.Module):
    """Halves the light of each pixel, in the range of a translator."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2 - 1


@pytest.mark.parametrize("size", [(16, 16), (17, 70), (45, 33), (70, 16), (64, 62)])
def test_the_answer_has_the_size_of_the_picture(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    found = NightGenerator(translator())(images)
    assert found.shape == images.shape and float(found.min()) >= 0 and float(found.max()) <= 1
    dimmed = NightGenerator(Dim())(images)
    assert torch.allclose(dimmed, images / 2, atol=1e-6)


def test_every_height_and_width_from_sixteen_to_seventy_comes_back() -> None:
    night, image = NightGenerator(Dim()), torch.rand(1, 3, 70, 70, generator=torch.Generator().manual_seed(1))
    for height in range(16, 71):
        for width in range(16, 71):
            part = image[..., :height, :width]
            assert torch.equal(night(part), part.mul(2).sub(1).add(1).div(2).sub(1).add(1).div(2))


def test_a_picture_does_not_depend_on_its_neighbours_also_after_train() -> None:
    torch.manual_seed(0)
    night = NightGenerator(ResNetTranslator(channels=4, blocks=1, norm="batch"))
    night.train()
    images = torch.rand(3, 3, 32, 32)
    alone = torch.cat([night(images[i : i + 1]) for i in range(3)])
    assert torch.allclose(night(images), alone, atol=1e-6) and not night.translator.training


@pytest.mark.parametrize("size", [(96, 100), (40, 150), (97, 61)])
def test_tiles_blend_to_the_whole_where_each_pixel_is_on_its_own(size: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(2))
    night = NightGenerator(Dim())
    assert torch.allclose(night(images, tile=48, overlap=16), night(images), atol=1e-6)


def test_a_saved_night_comes_back_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    before = translator()
    save_night(tmp_path / "night", before, OPTIONS, 64, {"variant": "hedgan"})
    night = load_night(tmp_path / "night")
    images = torch.rand(1, 3, 32, 36)
    assert night.resolution == 64 and len(night.sha256) == 64
    assert torch.allclose(night(images), NightGenerator(before)(images), atol=5e-3)  # half precision on disk
    weights = tmp_path / "night" / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="not the file that its config.json names"):
        load_night(tmp_path / "night")
    config = tmp_path / "night" / "config.json"
    config.write_text(json.dumps({"format": "other"}))
    with pytest.raises(CheckpointError, match="format 'other'"):
        load_night(tmp_path / "night")
    with pytest.raises(CheckpointError, match=r"no readable config.json"):
        load_night(tmp_path / "nothing")


def test_an_exposure_is_a_power_of_the_answer_whole_and_in_tiles(tmp_path: Path) -> None:
    images = torch.rand(1, 3, 70, 60, generator=torch.Generator().manual_seed(3))
    night = NightGenerator(Dim(), gamma=2.0)
    assert torch.allclose(night(images), (images / 2) ** 2, atol=1e-6)
    assert torch.allclose(night(images, tile=48, overlap=16), night(images), atol=1e-6)
    saved = load_night(save_night(tmp_path / "night", translator(), OPTIONS, 64, gamma=1.7))
    assert len({saved.identity, saved.sha256, NightGenerator(Dim(), 64, saved.sha256, 1.6).identity}) == 3
    assert saved.gamma == 1.7 and load_night(save_night(tmp_path / "plain", translator(), OPTIONS, 64)).gamma == 1
    with pytest.raises(ConfigError, match="gamma is 0"):
        NightGenerator(Dim(), gamma=0.0)


def test_glare_is_dimmed_before_the_night_and_other_days_are_left_alone(tmp_path: Path) -> None:
    night, plain = NightGenerator(Dim(), highlight=0.6), NightGenerator(Dim())
    dim = 0.6 * torch.rand(1, 3, 70, 60, generator=torch.Generator().manual_seed(3))
    glare = dim.clone()
    glare[..., :14, :] = 1.0  # a fifth of the picture: its brightest tenth is white
    assert torch.equal(night(dim), plain(dim))
    assert torch.allclose(night(glare), 0.6 * plain(glare), atol=1e-6)
    both = night(torch.cat([dim, glare]))  # each picture by its own light, and a tile by that of the whole
    assert torch.equal(both, torch.cat([night(dim), night(glare)]))
    assert torch.allclose(night(glare, tile=48, overlap=16), night(glare), atol=1e-6)
    lamp = dim.clone()
    lamp[..., :4, :] = 1.0  # less than a tenth
    assert torch.equal(night(lamp), plain(lamp))


def test_the_level_of_highlights_is_saved_and_names_the_night(tmp_path: Path) -> None:
    saved = load_night(save_night(tmp_path / "night", translator(), OPTIONS, 64, highlight=0.75))
    assert saved.highlight == 0.75
    named = {saved.identity, saved.sha256, NightGenerator(Dim(), 64, saved.sha256, highlight=0.8).identity}
    assert len(named) == 3
    for level in (0.0, 1.1):
        with pytest.raises(ConfigError, match="highlight is"):
            NightGenerator(Dim(), highlight=level)


def test_a_folder_of_the_first_format_is_still_read(tmp_path: Path) -> None:
    folder = save_night(tmp_path / "night", translator(), OPTIONS, 64)
    now, images = load_night(folder), torch.rand(1, 3, 20, 24)
    config = json.loads((folder / "config.json").read_text())
    flat = {**config["model"], "format": "visgen-night-1", "sha256": config["sha256"]}
    (folder / "config.json").write_text(
        json.dumps({k: v for k, v in flat.items() if k not in ("kind", "gamma", "highlight")})
    )
    assert torch.equal(load_night(folder)(images), now(images))


def test_kernels_may_be_rounded_to_a_few_significant_bits(tmp_path: Path) -> None:
    before = translator()
    night = load_night(save_night(tmp_path / "night", before, OPTIONS, 64, bits=7))
    kernels = 0
    for name, value in before.state_dict().items():
        stored = night.translator.state_dict()[name]
        if value.ndim > 1:
            kernels += 1
            assert bool(((stored - value).abs() <= value.abs() * 2.0**-7 + 1e-7).all())
            mantissa = torch.frexp(stored)[0] * 2**7
            assert torch.equal(mantissa, mantissa.round())
        else:
            assert torch.equal(stored, value)
    assert kernels > 5
    with pytest.raises(ConfigError, match="bits is 12"):
        save_night(tmp_path / "other", before, OPTIONS, 64, bits=12)


def test_a_name_that_neither_ships_nor_lies_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a folder that save_night wrote nor a generator that ships"):
        load_night("visgen-night-huge")
    with pytest.raises(CheckpointError, match="holds no readable config.json"):
        load_night(tmp_path / "visgen-night-tiny")


def test_pictures_that_do_not_fit_are_refused() -> None:
    night = NightGenerator(Dim())
    with pytest.raises(DataError, match=r"images are \(1, 3, 15, 40\)"):
        night(torch.zeros(1, 3, 15, 40))
    with pytest.raises(DataError, match="values from 0 to 255"):
        night(torch.tensor([0.0, 255.0]).repeat(1, 3, 16, 8))
    with pytest.raises(DataError, match="must lie in"):
        night(torch.full((1, 3, 16, 16), float("nan")))
    with pytest.raises(ConfigError, match="tile is 40 and overlap 32"):
        night(torch.zeros(1, 3, 64, 64), tile=40)


def test_the_size_of_the_published_translator() -> None:
    published = ResNetTranslator(channels=64, blocks=9, norm="batch")
    assert sum(p.numel() for p in published.parameters()) == pytest.approx(11.38e6, rel=2e-3)
    with pytest.raises(DataError, match="multiples of 4"):
        translator()(torch.zeros(1, 3, 30, 32))
