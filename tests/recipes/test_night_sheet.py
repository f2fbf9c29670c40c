"""The sheet of days and nights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image


def test_samples_and_streets_stand_above_their_nights(
    load_recipe: Callable[[str], ModuleType], small_night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "sheet.png"
    words = [str(small_night), str(out), "--streets", "1", "--height", "36"]
    monkeypatch.setattr(sys, "argv", ["sheet.py", *words])
    load_recipe("night/sheet").main()
    sheet = Image.open(out)
    assert sheet.size == (4 * 68 + 4, 2 * 36 + 3 * 4 + 4)
    day, night = (sheet.crop((8, top, 60, top + 30)).convert("L").resize((1, 1)).getpixel((0, 0)) for top in (6, 46))
    assert night < day
