"""The validity report of a generator that only dims, on pictures of squares."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import timm
from safetensors.torch import save_file

from visgen.metrics import read_record


def test_every_part_is_measured_and_recorded(
    load_recipe: Callable[[str], ModuleType],
    small_night: Path,
    night_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = load_recipe("night/validity")
    weights = (night_data / recipe.WEIGHTS).resolve()
    weights.parent.mkdir(parents=True)
    save_file(timm.create_model("mobilenetv2_100", pretrained=False).state_dict(), weights)
    record = tmp_path / "record.json"
    words = [str(small_night), "--data-root", str(night_data), "--scenes", "2", "--record", str(record)]
    monkeypatch.setattr(sys, "argv", ["validity.py", *words])
    recipe.main()
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"edges", "visibility", "stability", "realism"}
    assert set(found["edges"]) == {"photographs val", "photographs train", "town"}
    assert found["edges"]["photographs val"]["aligned"] == 1.0
    assert found["realism"]["train"]["pictures"] == 8 and found["visibility"]["boxes"] > 0
    written = read_record(record)
    assert written["metrics"] == found and written["command"].endswith("--data-root DATA --scenes 2")
