"""Two folders of pictures as every pair of them, and the window that both are cut by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.data import Sample, build_source, build_transform
from visgen.errors import ConfigError, DataError
from visgen.structures import SemanticMap


def picture(path: Path, grey: int, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), grey, dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(3):
        picture(tmp_path / "day" / f"d{i}.png", 200 + i)
    for i in range(2):
        picture(tmp_path / "night" / f"n{i}.png", 10 + i)
    (tmp_path / "train_day.txt").write_text("day/d0.png\nday/d2.png\n")
    (tmp_path / "train_night.txt").write_text("n0.png\nn1.png\n")
    return tmp_path


def test_every_picture_meets_every_other(folder: Path) -> None:
    source = build_source(f"unpaired:{folder}", "train")
    found = [
        (int(s.pixels[0, 0, 0]), int(s.targets["other"][0, 0, 0])) for s in (source[i] for i in range(len(source)))
    ]
    assert found == [(200, 10), (200, 11), (202, 10), (202, 11)]
    assert source[1].meta["id"] == "d0+n1" and source.heads == {}
    assert len(build_source(f"unpaired:{folder}", "all")) == 6


def test_lists_may_lie_elsewhere_such_as_those_of_a_fold(folder: Path) -> None:
    fold = folder / "fold"
    fold.mkdir()
    (fold / "train_day.txt").write_text("day/d1.png\n")
    (fold / "train_night.txt").write_text("night/n1.png\n")
    source = build_source(f"unpaired:{folder}", "train", lists=fold)
    assert len(source) == 1 and int(source[0].pixels[0, 0, 0]) == 201


def test_any_two_sources_are_two_domains() -> None:
    specs = [f"town:street?size=32x40&count={n}&seed={n}&night={n - 1}" for n in (1, 2)]
    source = build_source(f"unpaired-sources:{specs[0]} | {specs[1]}", "val")
    first, second = (build_source(spec, "val") for spec in specs)
    assert len(source) == 2 and source.heads == {}
    for i in range(2):
        assert torch.equal(source[i].pixels, first[0].pixels)
        assert torch.equal(source[i].targets["other"], second[i].pixels)
    assert source[0].pixels is source[1].pixels  # rendered once
    assert source[1].meta["id"] == f"{first[0].meta['id']}+{second[1].meta['id']}"
    with pytest.raises(IndexError):
        source[2]
    for wrong in (specs[0], f"{specs[0]} | {specs[0]}", f"{specs[0]} | "):
        with pytest.raises(ConfigError, match="write two different ones, FIRST | SECOND"):
            build_source(f"unpaired-sources:{wrong}")


def test_maps_of_the_first_source_are_kept_where_they_are_asked_for() -> None:
    specs = [f"town:street?size=32x40&count=2&seed={n}&night={n - 1}&tasks=segmentation" for n in (1, 2)]
    first = build_source(specs[0], "val")
    source = build_source(f"unpaired-sources:{specs[0]} | {specs[1]}", "val", labels=True)
    assert source.classes == {"segmentation": first.classes["segmentation"]} and source.heads == {}
    for i in (1, 2):
        assert torch.equal(source[i].targets["segmentation"].ids, first[i // 2].targets["segmentation"].ids)
    plain = build_source(f"unpaired-sources:{specs[0]} | {specs[1]}", "val")
    assert set(plain[0].targets) == {"other"} and plain.classes == {}
    with pytest.raises(ConfigError, match="has no semantic maps to keep"):
        build_source(f"unpaired-sources:{specs[0].replace('segmentation', 'detection')} | {specs[1]}", labels=True)


def test_what_is_missing_is_named(folder: Path) -> None:
    (folder / "train_day.txt").write_text("day/gone.png\n")
    with pytest.raises(DataError, match=r"names .*gone.png, which is missing"):
        build_source(f"unpaired:{folder}", "train")
    with pytest.raises(ConfigError, match="first and second are both 'day'"):
        build_source(f"unpaired:{folder}", "train", second="day")


def test_both_pictures_are_cut_by_one_window() -> None:
    rows = torch.arange(60, dtype=torch.uint8).view(1, -1, 1).expand(3, 60, 80)
    sample = Sample(rows.clone(), {"other": rows.clone()})
    crop = build_transform([{"name": "shared_crop", "size": 32, "scale": [1.0, 1.0]}])
    found = crop(sample, torch.Generator().manual_seed(0))
    assert found.size == (32, 32) and torch.equal(found.pixels, found.targets["other"])
    top = int(found.pixels[0, 0, 0])
    assert found.pixels[0, :, 0].tolist() == list(range(top, top + 32))
    tops = {int(crop(sample, torch.Generator().manual_seed(i)).pixels[0, 0, 0]) for i in range(20)}
    assert len(tops) > 5 and max(tops) <= 28


def test_a_map_is_cut_with_its_picture() -> None:
    rows = torch.arange(60, dtype=torch.uint8).view(1, -1, 1).expand(3, 60, 80).clone()
    maps = SemanticMap(rows[0].long(), tuple(f"row {i}" for i in range(60)))
    crop = build_transform([{"name": "shared_crop", "size": 32, "scale": [1.0, 1.0]}])
    for seed in range(5):
        found = crop(Sample(rows, {"segmentation": maps, "other": rows}), torch.Generator().manual_seed(seed))
        assert torch.equal(found.targets["segmentation"].ids, found.pixels[0].long())
        assert torch.equal(found.targets["other"], found.pixels)


def test_the_window_is_no_larger_than_the_smaller_picture() -> None:
    small = torch.zeros(3, 20, 90, dtype=torch.uint8)
    crop = build_transform([{"name": "shared_crop", "size": 64, "scale": [0.5, 0.5]}])
    found = crop(Sample(torch.zeros(3, 60, 80, dtype=torch.uint8), {"other": small}), torch.Generator())
    assert found.size == (64, 64) and found.targets["other"].shape == (3, 64, 64)
    with pytest.raises(DataError, match="needs a second picture"):
        crop(Sample(small), torch.Generator())
