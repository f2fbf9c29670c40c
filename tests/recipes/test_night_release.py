"""The file that ships: few significant bits, under the shipped name, with an entry that fits it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

import visgen.gan.night.generator as generator
from visgen.gan.night import load_night
from visgen.zoo import ModelEntry


def test_what_is_released_loads_by_its_name(
    load_recipe: Callable[[str], ModuleType], small_night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = tmp_path / "model_zoo" / "weights"
    found = load_recipe("night/release").release(small_night, zoo, 7, 2.0, 0.5, None)
    ((name, fields),) = found["entry"].items()
    entry = ModelEntry(**fields)
    weights = tmp_path / "model_zoo" / entry.file
    assert weights.stat().st_size == entry.bytes
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == entry.sha256
    described = json.loads((tmp_path / "model_zoo" / entry.config).read_text(encoding="utf-8"))["model"]
    assert described["facts"]["significant_bits"] == 7 and described["facts"]["variant"] == "hedgan"
    assert sorted(p.suffix for p in zoo.iterdir()) == [".json", ".safetensors"]
    monkeypatch.setattr(generator, "shipped_path", lambda relative: tmp_path / relative)
    image = 0.5 * torch.rand(1, 3, 20, 24)  # no glare
    assert float((load_night(name)(image) - load_night(small_night)(image) ** 2).abs().max()) < 0.05
    assert load_night(name).highlight == 0.5
