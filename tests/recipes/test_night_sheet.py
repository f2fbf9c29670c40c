"""The sheet of days and nights."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
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
    grey = np.asarray(sheet.convert("L")).astype(float)
    assert grey[46:76, 8:60].mean() < grey[6:36, 8:60].mean()
