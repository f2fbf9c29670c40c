"""Folders of nights, and the sheet of pairs, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from visgen.errors import ConfigError, DataError, ImageError
from visgen.gan.night import NightGenerator, day_night_sheet, turn_to_night


class Dim(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2 - 1


def test_each_picture_has_its_night_under_it() -> None:
    pairs = [
        (torch.full((3, 36, 64), 200 - i, dtype=torch.uint8), torch.full((3, 36, 64), 20 + i, dtype=torch.uint8))
        for i in range(3)
    ]
    sheet = np.asarray(day_night_sheet(pairs, columns=2, height=36))
    assert sheet.shape == (2 * (72 + 12) + 4, 2 * 68 + 4, 3)
    for i in range(3):
        left, top = 4 + i % 2 * 68, 4 + i // 2 * 84
        assert sheet[top + 18, left + 32, 0] == 200 - i and sheet[top + 40 + 18, left + 32, 0] == 20 + i
    assert (sheet[84 + 20, 68 + 30] == 255).all()  # the fourth place is empty
    with pytest.raises(DataError, match="got 0 pairs"):
        day_night_sheet([])


def test_a_folder_of_pictures_becomes_a_folder_of_nights(tmp_path: Path) -> None:
    day = tmp_path / "day"
    day.mkdir()
    for i in range(3):
        Image.fromarray(np.full((21, 33, 3), 100 + 2 * i, dtype=np.uint8)).save(day / f"p{i}.png")
    (day / "notes.txt").write_text("no picture")
    written = turn_to_night(NightGenerator(Dim()), day, tmp_path / "out", count=2)
    assert [p.name for p in written] == ["p0.png", "p1.png"]
    assert np.asarray(Image.open(written[1])).tolist() == np.full((21, 33, 3), 51).tolist()
    assert (tmp_path / "out" / "sheet.png").is_file()
    with pytest.raises(DataError, match="is there already"):
        turn_to_night(NightGenerator(Dim()), day, tmp_path / "out")
    with pytest.raises(DataError, match="holds no pictures"):
        turn_to_night(NightGenerator(Dim()), tmp_path / "none", tmp_path / "other")
    for count in (0, -1):
        with pytest.raises(ConfigError, match=f"count is {count}; turn at least 1"):
            turn_to_night(NightGenerator(Dim()), day, tmp_path / "other", count=count)


def test_nights_come_whole_or_not_at_all_and_none_hides_another(tmp_path: Path) -> None:
    day = tmp_path / "day"
    day.mkdir()
    for name in ("a.png", "a.bmp", "._b.png"):
        Image.fromarray(np.full((21, 33, 3), 100, dtype=np.uint8)).save(day / name.replace("._", ""))
    (day / "b.png").rename(day / "._b.png")  # what some systems leave beside a file
    written = turn_to_night(NightGenerator(Dim()), day, tmp_path / "out")
    assert [p.name for p in written] == ["a.bmp.png", "a.png.png"] and all(p.is_file() for p in written)
    Image.fromarray(np.full((64, 12, 3), 100, dtype=np.uint8)).save(day / "icon.png")
    with pytest.raises(DataError, match=r"icon\.png' has 12 x 64 pixels; a night needs 16 or more on each side"):
        turn_to_night(NightGenerator(Dim()), day, tmp_path / "other")
    (day / "icon.png").unlink()
    (day / "z.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"z\.png cannot be read"):
        turn_to_night(NightGenerator(Dim()), day, tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["day", "out"]
