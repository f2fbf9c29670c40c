"""The wrapper "night" of run files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from visgen.config import PartConfig
from visgen.data import build_source, wrap_source
from visgen.engine.parts import open_part
from visgen.errors import CheckpointError
from visgen.gan.architecture.translator import ResNetTranslator
from visgen.gan.night import Night, load_night, save_night

SPEC = "town:street?size=32x48&count=6&tasks=segmentation,depth"


@pytest.fixture
def generator(tmp_path: Path) -> str:
    torch.manual_seed(0)
    options = {"name": "resnet", "channels": 4, "blocks": 0}
    return str(save_night(tmp_path / "gan", ResNetTranslator(channels=4, blocks=0), options, 32))


def test_pictures_change_and_labels_stay(generator: str) -> None:
    source = build_source(SPEC)
    night = wrap_source(source, [{"name": "night", "generator": generator, "p": 1.0}])
    assert isinstance(night, Night) and night.heads == source.heads
    day, dark = source[1], night[1]
    assert torch.equal(day.targets["depth"].metres, dark.targets["depth"].metres)
    wanted = load_night(generator)(day.image[None])[0]
    assert torch.allclose(dark.image, wanted, atol=1 / 255) and dark.meta["night"] is True
    none = wrap_source(source, [{"name": "night", "generator": generator, "p": 0.0}])
    assert torch.equal(none[1].pixels, day.pixels)


def test_dark_pictures_stay(generator: str) -> None:
    source = build_source(f"{SPEC}&time=both")
    night = wrap_source(source, [{"name": "night", "generator": generator, "p": 1.0, "skip_below": 0.4}])
    changed = [bool(sample.meta.get("night")) for sample in night]
    assert changed == [True, False] * 3  # day and night in turn


def test_a_run_file_names_it_and_shrinks_first(generator: str) -> None:
    part = PartConfig(
        source=SPEC,
        shrink=({"name": "resize", "size": [16, 24]},),
        wrap=({"name": "night", "generator": generator, "p": 1.0}, {"name": "share", "high": 0.7}),
        cache=True,
        limit=2,
    )
    source = open_part(part, "train", "data.train.x")
    assert len(source) == 2  # of the share, not of all six
    assert source[0].size == (16, 24) and source[0].meta["night"] is True
    assert torch.equal(source[0].pixels, source[0].pixels)


def test_a_folder_without_a_generator_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path / "none")):
        wrap_source(build_source(SPEC), [{"name": "night", "generator": str(tmp_path / "none")}])
